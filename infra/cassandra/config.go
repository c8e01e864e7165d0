// Package cassandra keeps the log, the histories and the snapshots in Cassandra.
//
// An entry is claimed by one conditional batch within one partition: the head of a bucket moves from entry n to n+1, and
// entry n+1 is inserted, or neither. Histories are derived from the log by plain writes that can be repeated.
//
// It rests on conditional writes that are linearizable and on quorum writes that are durable and visible to quorum
// reads. What can be checked of that is checked when the store is opened: see Assumption.
package cassandra

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gocql/gocql"
)

// Config are the settings of the store. Zero values stand for the defaults.
type Config struct {
	Hosts      []string // host or host:port of some nodes
	Keyspace   string   // made if it is not there
	Datacenter string   // the local one; empty: requests go to all of them alike
	// Home is the data centre that all writers are in, if replicas are in several. Whoever names it, and lives there,
	// may write with Scope OneDatacenter.
	Home        string
	Replication int // of a keyspace that is made: replicas in each data centre. Default 3
	Scope       Scope

	User         string
	PasswordFile string // its first line is the password
	CAFile       string // PEM of the authority that signed the servers' certificates; not empty: TLS
	CertFile     string // PEM of our own certificate, where servers ask for it
	KeyFile      string
	ServerName   string // in the servers' certificates; empty: the address that was dialled

	Layout  Layout        // fixed when the store is made
	Timeout time.Duration // of one request, unless its context ends first. Default 12 s, longer than a server's own
	Connect time.Duration // of one connection. Default 5 s
	// Connections to each node, and requests that may be under way to each node. Claims are not counted: a shard has
	// one at a time. Default 2 and 128.
	Connections, PerNode int
	// Accept names assumptions that may be broken; they are warned about instead of refused.
	Accept []string
	// Dial connects to a node at the address that it tells of itself. Default: that address.
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Logger *slog.Logger

	dialer   gocql.Dialer // of tests that stand between us and the server
	silence  time.Duration
	observer gocql.QueryObserver // of tests that do something between two questions
}

// Layout says how the store is cut up. It is written once; a process that is configured otherwise is refused.
type Layout struct {
	Shards        int // customers live in the shards 1 to Shards. Default 16
	LogBucket     int // entries in a partition of the log. Default 256
	HistoryBucket int // events in a partition of a history. Default 1024
}

// Scope is how far a request has to reach.
type Scope int

const (
	// Everywhere: SERIAL and QUORUM, over the replicas of all data centres.
	Everywhere Scope = iota
	// OneDatacenter: LOCAL_SERIAL and LOCAL_QUORUM. It is refused unless one data centre alone holds replicas, or all
	// writers are in the Home data centre.
	OneDatacenter
)

// Limits of the layout and of what a request may hold.
const (
	maxShards     = 1024
	maxBucket     = 1 << 20
	maxEntryBytes = 12 << 20 // encoded: a server refuses a write of more than 16 MiB
)

var keyspaceName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,47}$`)

// Validate names every setting that is wrong.
func (c *Config) Validate() error {
	var wrong []error
	must := func(ok bool, field, rule string) {
		if !ok {
			wrong = append(wrong, fmt.Errorf("%s: %s", field, rule))
		}
	}
	within := func(field string, value, low, high int) {
		must(value >= low && value <= high, field, fmt.Sprintf("%d is not within %d and %d", value, low, high))
	}
	must(len(c.Hosts) > 0, "Hosts", "name at least one")
	for _, host := range c.Hosts {
		must(host != "", "Hosts", "a host is empty")
	}
	must(keyspaceName.MatchString(c.Keyspace), "Keyspace", fmt.Sprintf("%q is not 1 to 48 of a to z, 0 to 9 and _, with a letter first", c.Keyspace))
	within("Replication", c.Replication, 1, 9)
	must(c.Scope == Everywhere || c.Scope == OneDatacenter, "Scope", "unknown")
	must(c.Scope == Everywhere || c.Datacenter != "", "Datacenter", "must be named for Scope OneDatacenter")
	must(c.PasswordFile == "" || c.User != "", "User", "is missing, but PasswordFile is given")
	must(c.User == "" || c.PasswordFile != "", "PasswordFile", "is missing, but User is given")
	must((c.CertFile == "") == (c.KeyFile == ""), "CertFile, KeyFile", "go together")
	must(c.CAFile != "" || c.CertFile == "" && c.ServerName == "", "CAFile", "is missing, but CertFile or ServerName is given")
	within("Layout.Shards", c.Layout.Shards, 1, maxShards)
	within("Layout.LogBucket", c.Layout.LogBucket, 1, maxBucket)
	within("Layout.HistoryBucket", c.Layout.HistoryBucket, 1, maxBucket)
	must(c.Timeout >= 10*time.Millisecond, "Timeout", "is less than 10ms")
	must(c.Connect >= 10*time.Millisecond, "Connect", "is less than 10ms")
	within("Connections", c.Connections, 1, 64)
	within("PerNode", c.PerNode, 1, 1<<14)
	for _, name := range c.Accept {
		must(slices.Contains(assumptionNames, name), "Accept", fmt.Sprintf("no assumption is called %q; there are: %s", name, strings.Join(assumptionNames, ", ")))
	}
	if len(wrong) > 0 {
		return fmt.Errorf("cassandra: %w", errors.Join(wrong...))
	}
	return nil
}

func (c Config) withDefaults() Config {
	orDefault(&c.Replication, 3)
	orDefault(&c.Layout.Shards, 16)
	orDefault(&c.Layout.LogBucket, 256)
	orDefault(&c.Layout.HistoryBucket, 1024)
	orDefault(&c.Timeout, 12*time.Second)
	orDefault(&c.Connect, 5*time.Second)
	orDefault(&c.Connections, 2)
	orDefault(&c.PerNode, 128)
	orDefault(&c.silence, silence)
	if c.dialer == nil && c.Dial != nil {
		c.dialer = dialFunc(c.Dial)
	}
	if c.dialer == nil {
		c.dialer = &net.Dialer{Timeout: c.Connect}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

func (d dialFunc) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return d(ctx, network, address)
}

func orDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

func (c *Config) serial() gocql.SerialConsistency {
	if c.Scope == OneDatacenter {
		return gocql.LocalSerial
	}
	return gocql.Serial
}

func (c *Config) quorum() gocql.Consistency {
	if c.Scope == OneDatacenter {
		return gocql.LocalQuorum
	}
	return gocql.Quorum
}

// cluster is what the driver is told.
func (c *Config) cluster(hosts []string, keyspace string) (*gocql.ClusterConfig, error) {
	d := gocql.NewCluster(hosts...)
	d.Keyspace = keyspace
	d.ProtoVersion = 4
	d.Timeout, d.WriteTimeout, d.ConnectTimeout = c.Timeout, c.Timeout, c.Connect
	d.NumConns = c.Connections
	d.Consistency, d.SerialConsistency = c.quorum(), c.serial()
	// What is written without a time of its own gets the server's. With ours, a process whose clock is ahead would keep the
	// snapshots and the signs of life of others out until their clocks had come so far.
	d.DefaultTimestamp = false
	// The driver would hold each request back for a while in order to send several at once, which costs a single caller
	// up to three times and gains nothing for many.
	d.WriteCoalesceWaitTime = 0
	// A request that failed is not repeated by the driver: whether it may be, only its caller knows.
	d.RetryPolicy = nil
	d.ReconnectInterval = time.Second
	d.ReconnectionPolicy = &gocql.ConstantReconnectionPolicy{MaxRetries: 1, Interval: 100 * time.Millisecond}
	d.Logger = driverLog{c.Logger}
	d.Dialer = watchful{c.dialer, c.silence}
	d.QueryObserver = c.observer
	// A policy belongs to one session: shared, it panics.
	fallback := gocql.RoundRobinHostPolicy()
	if c.Datacenter != "" {
		fallback = gocql.DCAwareRoundRobinPolicy(c.Datacenter)
	}
	d.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(fallback, gocql.ShuffleReplicas())
	if c.User != "" {
		password, err := readPassword(c.PasswordFile)
		if err != nil {
			return nil, err
		}
		d.Authenticator = gocql.PasswordAuthenticator{Username: c.User, Password: password}
	}
	if c.CAFile != "" {
		tlsConfig, err := c.tls()
		if err != nil {
			return nil, err
		}
		d.SslOpts = &gocql.SslOptions{Config: tlsConfig, EnableHostVerification: true}
	}
	return d, nil
}

func readPassword(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("PasswordFile: %w", err)
	}
	password, _, _ := strings.Cut(string(text), "\n")
	if password = strings.TrimSuffix(password, "\r"); password == "" {
		return "", fmt.Errorf("PasswordFile: the first line of %s is empty", path)
	}
	return password, nil
}

func (c *Config) tls() (*tls.Config, error) {
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("CAFile: %w", err)
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName, RootCAs: x509.NewCertPool()}
	if !t.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CAFile: %s holds no certificate", c.CAFile)
	}
	if c.CertFile != "" {
		own, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("CertFile, KeyFile: %w", err)
		}
		t.Certificates = []tls.Certificate{own}
	}
	return t, nil
}

// driverLog lets the driver speak into our log. It says nothing that a caller does not learn by an error.
type driverLog struct{ logger *slog.Logger }

func (l driverLog) Print(v ...any)                 { l.logger.Debug("cassandra driver", "says", fmt.Sprint(v...)) }
func (l driverLog) Printf(format string, v ...any) { l.Print(fmt.Sprintf(format, v...)) }
func (l driverLog) Println(v ...any)               { l.Print(fmt.Sprintln(v...)) }
