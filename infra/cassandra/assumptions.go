package cassandra

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/gocql/gocql"
)

// Assumption is something that the store rests on, as it was found when the store was opened. What a server may change
// later, and what no server tells, is watched in another way: the log's chain of ids, and in each event the position of its
// stream's previous one.
type Assumption struct {
	Name  string // one of those that Config.Accept knows
	Node  string // the node that it was found on; empty: it is the keyspace's
	Found string
	Holds bool
	Fatal bool   // a store for which it does not hold is not opened, unless it is accepted
	Why   string // what may happen otherwise
}

// The names of the assumptions.
const (
	assumePaxos         = "paxos_variant"
	assumeSync          = "commitlog_sync"
	assumeStrategy      = "replication_strategy"
	assumeReplicas      = "replicas"
	assumeDurableWrites = "durable_writes"
	assumeReadRepair    = "read_repair"
	assumeScope         = "scope"
)

var assumptionNames = []string{assumePaxos, assumeSync, assumeStrategy, assumeReplicas, assumeDurableWrites, assumeReadRepair, assumeScope}

// Assumptions are what was checked when the store was opened.
func (s *Store) Assumptions() []Assumption { return slices.Clone(s.assumptions) }

// check looks at everything that can be looked at. What does not hold is logged, and refused if it is fatal and not
// accepted.
func (s *Store) check(ctx context.Context, nodes []node) ([]Assumption, error) {
	keyspace, err := s.checkKeyspace(ctx)
	if err != nil {
		return nil, err
	}
	all := append(keyspace, s.checkNodes(ctx, nodes)...)
	var refused []error
	for _, a := range all {
		switch {
		case a.Holds:
		case a.Fatal && !slices.Contains(s.cfg.Accept, a.Name):
			refused = append(refused, fmt.Errorf("%s%s is %s: %s", onNode(a.Node), a.Name, a.Found, a.Why))
		default:
			s.cfg.Logger.Warn("the event store may not keep its word", "assumption", a.Name, "node", a.Node, "found", a.Found, "why", a.Why)
		}
	}
	if len(refused) > 0 {
		return all, fmt.Errorf("%w: %w", ErrAssumption, errors.Join(refused...))
	}
	return all, nil
}

func onNode(node string) string {
	if node == "" {
		return ""
	}
	return "on " + node + ", "
}

// checkKeyspace looks at what the keyspace and its tables say.
func (s *Store) checkKeyspace(ctx context.Context) ([]Assumption, error) {
	var durable bool
	var replication map[string]string
	err := s.session.Query(`SELECT durable_writes, replication FROM system_schema.keyspaces WHERE keyspace_name = ?`, s.cfg.Keyspace).
		Consistency(gocql.One).WithContext(ctx).Scan(&durable, &replication)
	if err != nil {
		return nil, fmt.Errorf("reading the settings of the keyspace: %w", failed(ctx, err))
	}
	all := append(checkReplication(replication), s.checkScope(replication), Assumption{
		Name: assumeDurableWrites, Found: strconv.FormatBool(durable), Holds: durable, Fatal: true, Why: "without it nothing is written to the commit log",
	})
	repair, err := s.readRepair(ctx)
	return append(all, repair), err
}

// checkReplication: only NetworkTopologyStrategy keeps its promises when data centres or racks are added.
func checkReplication(replication map[string]string) []Assumption {
	class := replication["class"][strings.LastIndex(replication["class"], ".")+1:]
	all := []Assumption{{
		Name: assumeStrategy, Found: class, Holds: class == "NetworkTopologyStrategy", Fatal: true,
		Why: "any other strategy moves replicas, and forgets, when nodes or data centres are added",
	}}
	for centre, text := range replicasIn(replication) {
		replicas, err := strconv.Atoi(text)
		all = append(all, Assumption{
			Name: assumeReplicas, Found: text + " in " + centre, Holds: err == nil && replicas >= 3,
			Why: "with fewer than three replicas a node that is away stops all commands, and a disk that is lost takes entries with it",
		})
	}
	return all
}

// replicasIn is the number of replicas by data centre.
func replicasIn(replication map[string]string) map[string]string {
	centres := make(map[string]string)
	for name, text := range replication {
		if name != "class" && text != "0" {
			centres[name] = text
		}
	}
	return centres
}

// checkScope: requests that stay in one data centre see everything only if everything is written there.
func (s *Store) checkScope(replication map[string]string) Assumption {
	centres := replicasIn(replication)
	a := Assumption{Name: assumeScope, Found: "everywhere", Holds: true, Fatal: true, Why: "what is written in another data centre would not be seen here"}
	if s.cfg.Scope == OneDatacenter {
		_, here := centres[s.cfg.Datacenter]
		a.Found = fmt.Sprintf("one data centre (%s) of %d with replicas", s.cfg.Datacenter, len(centres))
		a.Holds = here && (len(centres) == 1 || s.cfg.Home == s.cfg.Datacenter)
	}
	return a
}

func (s *Store) readRepair(ctx context.Context) (Assumption, error) {
	a := Assumption{Name: assumeReadRepair, Found: "BLOCKING", Holds: true, Fatal: true, Why: "two quorum reads, one after the other, could see an entry and then not see it"}
	rows := s.session.Query(`SELECT table_name, read_repair FROM system_schema.tables WHERE keyspace_name = ?`, s.cfg.Keyspace).Consistency(gocql.One).WithContext(ctx).Iter()
	var table, repair string
	for rows.Scan(&table, &repair) {
		if repair != "BLOCKING" {
			a.Found, a.Holds = repair+" for "+table, false
		}
	}
	if err := rows.Close(); err != nil {
		return a, fmt.Errorf("reading the settings of the tables: %w", failed(ctx, err))
	}
	return a, nil
}

// checkNodes asks each node for its own settings. A node that can't be asked is said to be unknown.
func (s *Store) checkNodes(ctx context.Context, nodes []node) (all []Assumption) {
	found := make([][]Assumption, len(nodes))
	_ = atOnce(ctx, nodesAtOnce, len(nodes), func(ctx context.Context, i int) error {
		settings, err := s.cfg.settings(ctx, nodes[i])
		if err != nil {
			settings = map[string]string{"paxos_variant": unknown, "commitlog_sync": unknown}
			s.cfg.Logger.Warn("a node could not be asked for its settings", "node", nodes[i].address, "error", err.Error())
		}
		found[i] = checkSettings(nodes[i].address, settings)
		return nil
	})
	return slices.Concat(found...)
}

const (
	nodesAtOnce = 4
	unknown     = "unknown"
)

func checkSettings(node string, settings map[string]string) []Assumption {
	paxos, sync := settings["paxos_variant"], settings["commitlog_sync"]
	return []Assumption{
		{
			Name: assumePaxos, Node: node, Found: paxos, Holds: paxos == "v2", Fatal: paxos != unknown,
			Why: "v2 is what was tested: it takes fewer rounds, and its SERIAL reads are linearizable",
		},
		{
			Name: assumeSync, Node: node, Found: sync, Holds: sync == "group" || sync == "batch",
			Why: "a node that is killed forgets the last entries that it has acknowledged",
		},
	}
}

// node is a server.
type node struct{ address, datacenter string }

// nodes are all nodes of the cluster: one tells of itself and of its peers. They are asked for by one connection to one
// node, so that both answers come from the same.
func (c *Config) nodes(ctx context.Context, session *gocql.Session) ([]node, error) {
	var nodes []node
	port := c.port()
	add := func(table, address string) error {
		//nolint:misspell // the column's name
		rows := session.Query(`SELECT ` + address + `, data_center FROM ` + table).Consistency(gocql.One).WithContext(ctx).Iter()
		var ip net.IP
		var centre string
		for rows.Scan(&ip, &centre) {
			n := node{net.JoinHostPort(ip.String(), port), centre}
			if !slices.Contains(nodes, n) {
				nodes = append(nodes, n)
			}
		}
		return rows.Close()
	}
	// The two queries may reach different nodes. Asked twice, the one that was left out the first time is told of by another.
	for range 2 {
		if err := errors.Join(add("system.local", "rpc_address"), add("system.peers_v2", "native_address")); err != nil {
			return nil, fmt.Errorf("reading which nodes there are: %w", failed(ctx, err))
		}
	}
	return nodes, nil
}

// port is the one that nodes listen on.
func (c *Config) port() string {
	if _, port, err := net.SplitHostPort(c.Hosts[0]); err == nil {
		return port
	}
	return "9042"
}

// settings are a node's own.
func (c *Config) settings(ctx context.Context, n node) (map[string]string, error) {
	d, err := c.cluster([]string{n.address}, "")
	if err != nil {
		return nil, err
	}
	d.DisableInitialHostLookup, d.NumConns = true, 1
	d.Events.DisableNodeStatusEvents, d.Events.DisableTopologyEvents, d.Events.DisableSchemaEvents = true, true, true
	d.PoolConfig.HostSelectionPolicy = gocql.RoundRobinHostPolicy()
	session, err := dial(ctx, d)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	settings := make(map[string]string)
	for _, name := range []string{"paxos_variant", "commitlog_sync"} {
		var value string
		if err := session.Query(`SELECT value FROM system_views.settings WHERE name = ?`, name).Consistency(gocql.One).WithContext(ctx).Scan(&value); err != nil {
			return nil, fmt.Errorf("reading the setting %s of %s: %w", name, n.address, failed(ctx, err))
		}
		settings[name] = value
	}
	return settings, nil
}
