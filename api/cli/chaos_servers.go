package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"carryon/api/chaos"
	"carryon/api/config"
)

// chaosTown is the distributed profile: several processes of each role, each with proxies of its own between it and the
// servers, and between it and the other processes. The store is the one that is configured, and must be empty at first.
type chaosTown struct {
	r        *run
	settings *config.Config
	program  string
	roles    []string // a process each
	servers  []*chaos.Server
}

// roleNames are the processes in order: those that decide, those that project, those that answer.
func (c chaosCommand) roleNames() []string {
	return slices.Concat(slices.Repeat([]string{"command"}, c.Writers), slices.Repeat([]string{"projector"}, c.Projectors), slices.Repeat([]string{"query"}, c.Queries))
}

// newTown makes what is not there yet on the servers, and makes sure that nobody else's events are.
func (c chaosCommand) newTown(r *run, settings *config.Config, program string) (*chaosTown, error) {
	town := &chaosTown{r: r, settings: settings, program: program, roles: c.roleNames()}
	if c.Control != "" {
		control, err := filepath.Abs(c.Control)
		if err != nil {
			return nil, err
		}
		for _, name := range []string{"cassandra", "kafka", "postgres", "elasticsearch"} {
			town.servers = append(town.servers, &chaos.Server{Name: name, Control: control})
		}
	}
	own := *settings
	own.Data = filepath.Join(settings.Data, "tool")
	quiet := *r
	quiet.config = &own
	system, err := quiet.open(OpenOptions{OnlyReads: true})
	if err != nil {
		return nil, err
	}
	defer quiet.close(system)
	if err := system.Prepare(r.ctx); err != nil {
		return nil, fmt.Errorf("making what is needed on the servers: %w", err)
	}
	heads, err := system.Heads(r.ctx)
	if err != nil {
		return nil, err
	}
	for shard, head := range heads {
		if head.Index > 0 && !c.Resume {
			return nil, fmt.Errorf("%w: shard %d of keyspace %s has %d entries: chaos begins in an empty one", errUsage, shard, settings.Cassandra.Keyspace, head.Index)
		}
	}
	return town, nil
}

// Processes are made with their proxies.
func (t *chaosTown) Processes(_ int, dir string) (all []*chaos.Process, err error) {
	defer func() {
		if err != nil {
			for _, p := range all {
				p.Release()
			}
		}
	}()
	numbers := map[string]int{}
	for _, role := range t.roles {
		numbers[role]++
		name := fmt.Sprintf("%s-%d", role, numbers[role])
		env := append(t.settings.Environ(), chaosQueues...)
		env = append(env, "CARRYON_DATA="+filepath.Join(dir, name), "CARRYON_LISTEN=127.0.0.1:0", "CARRYON_KEYS="+t.settings.Keys, "CARRYON_ROLES="+role)
		p, err := chaos.NewProcess(name, t.program, []string{role}, []string{"serve", "--log-level", "warn"}, env, filepath.Join(dir, name+".log"))
		if err != nil {
			return all, err
		}
		all = append(all, p)
		if err := t.connect(p); err != nil {
			return all, err
		}
	}
	return all, nil
}

// connect puts proxies between a process and everything that it talks to.
func (t *chaosTown) connect(p *chaos.Process) error {
	var reach []string
	for server, addresses := range map[string][]string{"cassandra": t.settings.Cassandra.Hosts, "kafka": t.settings.Kafka.Brokers} {
		for i, address := range addresses {
			if _, _, err := net.SplitHostPort(address); err != nil {
				address = net.JoinHostPort(address, map[string]string{"cassandra": "9042", "kafka": "9092"}[server])
			}
			by, err := p.Link(fmt.Sprintf("%s-%d", server, i+1), address)
			if err != nil {
				return err
			}
			reach = append(reach, address+"="+by)
		}
	}
	p.Setenv("CARRYON_REACH_BY", strings.Join(reach, ","))
	through := func(server, at, port string) (string, error) {
		u, err := url.Parse(at)
		if err != nil {
			return "", errors.New(server + " is configured with a URL that can't be read")
		}
		address := u.Host
		if u.Port() == "" {
			address = net.JoinHostPort(u.Hostname(), port)
		}
		u.Host, err = p.Link(server, address)
		return u.String(), err
	}
	postgres, err := through("postgres", t.settings.Postgres.URL, "5432")
	if err != nil {
		return err
	}
	p.Setenv("CARRYON_POSTGRES", postgres)
	var elastic []string
	for i, address := range t.settings.Elasticsearch.Addresses {
		by, err := through(fmt.Sprintf("elasticsearch-%d", i+1), address, "9200")
		if err != nil {
			return err
		}
		elastic = append(elastic, by)
	}
	p.Setenv("CARRYON_ELASTICSEARCH", strings.Join(elastic, ","))
	if !p.Has("command") {
		return nil
	}
	listen, err := freeAddress()
	if err != nil {
		return err
	}
	others, err := p.Link(chaos.Others, listen)
	p.Setenv("CARRYON_INTERNAL_LISTEN", listen)
	p.Setenv("CARRYON_INTERNAL_ADDRESS", others)
	return err
}

// freeAddress is one that nobody listens on at this moment.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// Servers are there when something controls them.
func (t *chaosTown) Servers() []*chaos.Server { return t.servers }

// Audit audits the store that is configured, past all proxies.
func (t *chaosTown) Audit(ctx context.Context, store int, dir, journal string, complete bool) (chaos.Audited, error) {
	settings := *t.settings
	settings.Data = filepath.Join(dir, "tool")
	return auditChaos(ctx, t.r, &settings, uint64(store), journal, complete) //nolint:gosec // positive
}
