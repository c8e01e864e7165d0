// Package config reads the settings of a process: flags before environment before file before defaults. Every setting
// is one row of one table, so that the flag, the environment variable, the key in the file, the help and the redacted
// print of the effective configuration can't drift apart; and all mistakes are reported at once, each with its source.
package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Config is the effective configuration of a process.
type Config struct {
	Data            string        // folder of everything that is kept
	Keys            string        // folder of the keys; empty: in Data
	Profile         string        // embedded, distributed
	Roles           []string      // command, projector, query
	Listen          string        // host:port of the HTTP server
	CommandURL      string        // of the command API that the console acts through, when this process is not one; empty: no acts
	LogLevel        string        // debug, info, warn, error
	LogFormat       string        // text, json
	MasterKey       string        // base64 of 32 bytes that wrap the customers' keys; empty: a file in Data
	CommandTimeout  time.Duration // until a command is answered "unknown"
	QueryTimeout    time.Duration // until a query is given up
	ShutdownTimeout time.Duration // for draining, altogether
	ReferenceMaxAge time.Duration // how stale policies and withdrawals may be
	ShardQueue      int           // commands that may wait per shard
	CustomerQueue   int           // commands that may wait per customer
	CacheBytes      int64         // of folded customers in memory
	SnapshotEvery   int           // events of a stream between two snapshots
	MaxInFlight     int           // HTTP requests at once
	AuditEvery      time.Duration // between audits of a process with projectors; 0: none
	ShadowPolicy    string        // file of a policy that decides beside the one in force; empty: none
	Testing         bool          // this process may be told to do wrong on purpose
	ClockOffset     time.Duration // by how much its clock is wrong; only with Testing

	// The distributed profile only.
	Shards          int               // of customers, fixed when the event store is made
	InternalListen  string            // host:port where other processes hand commands over
	InternalAddress string            // host:port by which they reach it; empty: as it listens
	ReachBy         map[string]string // host:port by which Cassandra's nodes and Kafka's brokers are reached that call themselves otherwise
	Cassandra       Cassandra
	Kafka           Kafka
	Postgres        Postgres
	Elasticsearch   Elasticsearch

	values map[string]value
}

// Cassandra is where the event store is.
type Cassandra struct {
	Hosts        []string // host or host:port
	Keyspace     string
	Datacenter   string // the local one; empty: the only one
	Replication  int    // of a keyspace that is made
	User         string
	PasswordFile string
	CAFile       string // not empty: TLS
}

// Kafka is what carries the entries.
type Kafka struct {
	Brokers      []string
	Topic        string
	User         string
	PasswordFile string
	Mechanism    string // plain, scram-sha-256, scram-sha-512
	CAFile       string // not empty: TLS
}

// Postgres is where most read models are.
type Postgres struct {
	URL          string // without a password
	PasswordFile string
}

// Elasticsearch is where the search read model is.
type Elasticsearch struct {
	Addresses    []string
	Prefix       string // of the indices
	Replicas     int
	User         string
	PasswordFile string
	CAFile       string
}

type value struct{ text, source string }

// Setting is one row of the table.
type Setting struct {
	Key     string // in the file and, with -- before it, as a flag
	Default string
	Help    string // shape, unit, range
	Secret  bool   // never printed
	parse   func(*Config, string) error
	hide    func(string) string // makes a wrong value fit to be shown; nil: it is
}

// shown is the value as it may be printed.
func (s Setting) shown(text string) string {
	switch {
	case s.Secret && text != "":
		return "(redacted)"
	case s.hide != nil:
		return s.hide(text)
	}
	return text
}

// Env is the environment variable of the setting.
func (s Setting) Env() string {
	return "CARRYON_" + strings.ToUpper(strings.ReplaceAll(s.Key, "-", "_"))
}

// Settings is the table.
func Settings() []Setting {
	return []Setting{
		{Key: "data", Default: "carryon-data", Help: "folder of everything that is kept", parse: func(c *Config, v string) error { c.Data = v; return notEmpty(v) }},
		{Key: "keys", Help: "folder of the keys that sign and wrap, the same for all processes; empty: keys in the data folder", parse: text(func(c *Config) *string { return &c.Keys })},
		{Key: "profile", Default: ProfileEmbedded, Help: "embedded: SQLite and in-process messages, one process; distributed: Cassandra, Kafka, Postgres and Elasticsearch, any number of processes", parse: func(c *Config, v string) error { c.Profile = v; return oneOf(v, ProfileEmbedded, ProfileDistributed) }},
		{Key: "roles", Default: "command,projector,query", Help: "what this process does: command, projector, query, in any mix and number; the embedded profile needs all three", parse: parseRoles},
		{Key: "listen", Default: "127.0.0.1:8080", Help: "host:port of the HTTP server; loopback unless you say otherwise; port 0 takes a free one", parse: address(func(c *Config) *string { return &c.Listen })},
		{Key: "command-url", Help: "URL of the command API that the console of a process without the role command acts through; empty: it only shows", parse: optional(webURL(func(c *Config) *string { return &c.CommandURL }))},
		{Key: "log-level", Default: "info", Help: "debug, info, warn or error", parse: func(c *Config, v string) error { c.LogLevel = v; return oneOf(v, "debug", "info", "warn", "error") }},
		{Key: "log-format", Default: "text", Help: "text or json", parse: func(c *Config, v string) error { c.LogFormat = v; return oneOf(v, "text", "json") }},
		{Key: "master-key", Help: "base64 of the 32 bytes that wrap the customers' keys; empty: kept in the data folder", Secret: true, parse: optional(secret(func(c *Config) *string { return &c.MasterKey }))},
		{Key: "command-timeout", Default: "10s", Help: "100ms to 5m: until a command's caller is told that the outcome is unknown", parse: within(100*time.Millisecond, 5*time.Minute, func(c *Config) *time.Duration { return &c.CommandTimeout })},
		{Key: "query-timeout", Default: "15s", Help: "100ms to 5m: until a query is given up", parse: within(100*time.Millisecond, 5*time.Minute, func(c *Config) *time.Duration { return &c.QueryTimeout })},
		{Key: "shutdown-timeout", Default: "20s", Help: "1s to 10m: for draining, altogether", parse: within(time.Second, 10*time.Minute, func(c *Config) *time.Duration { return &c.ShutdownTimeout })},
		{Key: "reference-max-age", Default: "30s", Help: "1s to 1h: how stale policies and withdrawals may be before commands are refused", parse: within(time.Second, time.Hour, func(c *Config) *time.Duration { return &c.ReferenceMaxAge })},
		{Key: "shard-queue", Default: "4096", Help: "1 to 1000000: commands that may wait per shard; beyond, 503", parse: number(1, 1_000_000, func(c *Config, n int64) { c.ShardQueue = int(n) })},
		{Key: "customer-queue", Default: "64", Help: "1 to 100000: commands that may wait per customer; beyond, 503", parse: number(1, 100_000, func(c *Config, n int64) { c.CustomerQueue = int(n) })},
		{Key: "cache-bytes", Default: "268435456", Help: "1048576 and more: memory for folded customers", parse: number(1<<20, 1<<40, func(c *Config, n int64) { c.CacheBytes = n })},
		{Key: "snapshot-every", Default: "100", Help: "10 to 100000: events of a stream between two snapshots", parse: number(10, 100_000, func(c *Config, n int64) { c.SnapshotEvery = int(n) })},
		{Key: "max-in-flight", Default: "1024", Help: "1 to 100000: HTTP requests at once; beyond, 503", parse: number(1, 100_000, func(c *Config, n int64) { c.MaxInFlight = int(n) })},
		{Key: "audit-every", Default: "24h", Help: "0s or 1m to 8760h: about how often one of the processes with projectors audits a sample; 0s: never", parse: func(c *Config, v string) error {
			if d, err := time.ParseDuration(v); err == nil && d == 0 {
				c.AuditEvery = 0
				return nil
			}
			return within(time.Minute, 8760*time.Hour, func(c *Config) *time.Duration { return &c.AuditEvery })(c, v)
		}},
		{Key: "shadow-policy", Help: "file of a policy document, JSON or (.yaml, .yml) YAML, that decides beside the one in force and changes nothing; empty: none", parse: text(func(c *Config) *string { return &c.ShadowPolicy })},
		{Key: "testing", Default: "no", Help: "no or yes: this process may be told to do wrong on purpose, see clock-offset; never in production", parse: func(c *Config, v string) error { c.Testing = v == "yes"; return oneOf(v, "no", "yes") }},
		{Key: "clock-offset", Default: "0s", Help: "-48h to 48h: by how much the clock of this process is wrong on purpose; refused without testing", parse: within(-48*time.Hour, 48*time.Hour, func(c *Config) *time.Duration { return &c.ClockOffset })},

		{Key: "shards", Default: "16", Help: "1 to 1024: shards that customers are spread over, fixed when the event store is made", parse: number(1, 1024, func(c *Config, n int64) { c.Shards = int(n) })},
		{Key: "internal-listen", Default: "127.0.0.1:0", Help: "host:port where other processes hand commands over; port 0 takes a free one", parse: address(func(c *Config) *string { return &c.InternalListen })},
		{Key: "internal-address", Help: "host:port by which other processes reach this one; empty: as it listens", parse: optional(address(func(c *Config) *string { return &c.InternalAddress }))},
		{Key: "reach-by", Help: "host:port=host:port, separated by commas: how nodes of Cassandra and brokers of Kafka are reached that tell another address of themselves, as behind a NAT", parse: pairs(func(c *Config) *map[string]string { return &c.ReachBy })},
		{Key: "cassandra", Default: "127.0.0.1:9042", Help: "host:port of some nodes, separated by commas", parse: list(func(c *Config) *[]string { return &c.Cassandra.Hosts })},
		{Key: "cassandra-keyspace", Default: "carryon", Help: "keyspace of the event store", parse: name(func(c *Config) *string { return &c.Cassandra.Keyspace })},
		{Key: "cassandra-datacenter", Help: "the data centre of this process; empty: there is only one", parse: text(func(c *Config) *string { return &c.Cassandra.Datacenter })},
		{Key: "cassandra-replication", Default: "3", Help: "1 to 9: replicas in each data centre of a keyspace that is made", parse: number(1, 9, func(c *Config, n int64) { c.Cassandra.Replication = int(n) })},
		{Key: "cassandra-user", Help: "empty: without authentication", parse: text(func(c *Config) *string { return &c.Cassandra.User })},
		{Key: "cassandra-password-file", Help: "file that holds the password", parse: text(func(c *Config) *string { return &c.Cassandra.PasswordFile })},
		{Key: "cassandra-ca-file", Help: "PEM of the authority that signed the servers' certificates: TLS; empty: no TLS", parse: text(func(c *Config) *string { return &c.Cassandra.CAFile })},
		{Key: "kafka", Default: "127.0.0.1:9092", Help: "host:port of some brokers, separated by commas", parse: list(func(c *Config) *[]string { return &c.Kafka.Brokers })},
		{Key: "kafka-topic", Default: "carryon", Help: "topic of the entries, a partition per shard", parse: notBlank(func(c *Config) *string { return &c.Kafka.Topic })},
		{Key: "kafka-user", Help: "empty: without authentication", parse: text(func(c *Config) *string { return &c.Kafka.User })},
		{Key: "kafka-password-file", Help: "file that holds the password", parse: text(func(c *Config) *string { return &c.Kafka.PasswordFile })},
		{Key: "kafka-mechanism", Default: "scram-sha-512", Help: "plain, scram-sha-256 or scram-sha-512: how kafka-user is authenticated", parse: func(c *Config, v string) error {
			c.Kafka.Mechanism = v
			return oneOf(v, "plain", "scram-sha-256", "scram-sha-512")
		}},
		{Key: "kafka-ca-file", Help: "PEM of the authority that signed the brokers' certificates: TLS; empty: no TLS", parse: text(func(c *Config) *string { return &c.Kafka.CAFile })},
		{Key: "postgres", Default: "postgres://postgres@127.0.0.1:5433/carryon?sslmode=disable", Help: "URL of the database of the read models, without a password", parse: postgresURL, hide: withoutPassword},
		{Key: "postgres-password-file", Help: "file that holds the password", parse: text(func(c *Config) *string { return &c.Postgres.PasswordFile })},
		{Key: "elasticsearch", Default: "http://127.0.0.1:9200", Help: "URLs of some nodes, separated by commas", parse: list(func(c *Config) *[]string { return &c.Elasticsearch.Addresses })},
		{Key: "elasticsearch-prefix", Default: "carryon", Help: "what the names of the indices begin with", parse: name(func(c *Config) *string { return &c.Elasticsearch.Prefix })},
		{Key: "elasticsearch-replicas", Default: "1", Help: "0 to 9: copies of each index beside the first", parse: number(0, 9, func(c *Config, n int64) { c.Elasticsearch.Replicas = int(n) })},
		{Key: "elasticsearch-user", Help: "empty: without authentication", parse: text(func(c *Config) *string { return &c.Elasticsearch.User })},
		{Key: "elasticsearch-password-file", Help: "file that holds the password", parse: text(func(c *Config) *string { return &c.Elasticsearch.PasswordFile })},
		{Key: "elasticsearch-ca-file", Help: "PEM of the authority that signed the servers' certificates; empty: the system's", parse: text(func(c *Config) *string { return &c.Elasticsearch.CAFile })},
	}
}

// The profiles.
const (
	ProfileEmbedded    = "embedded"
	ProfileDistributed = "distributed"
)

// Sources are where settings come from, strongest first.
type Sources struct {
	Flags map[string]string // by key; only those that were given
	Env   []string          // as os.Environ has it
	File  string            // path of a YAML or JSON file; empty: none
}

// Load merges the sources and reports every mistake at once.
func Load(src Sources) (*Config, error) {
	c := &Config{values: map[string]value{}}
	var problems []error
	file, err := readFile(src.File)
	if err != nil {
		problems = append(problems, err)
	}
	settings := Settings()
	for key := range file {
		if !slices.ContainsFunc(settings, func(s Setting) bool { return s.Key == key }) {
			problems = append(problems, fmt.Errorf("%s: %s is not a setting; `carryon config` lists them", src.File, key))
		}
	}
	env, unknown := environment(src.Env, settings)
	problems = append(problems, unknown...)
	for _, s := range settings {
		v := value{s.Default, "default"}
		if text, ok := file[s.Key]; ok {
			v = value{text, "file " + src.File}
		}
		if text, ok := env[s.Env()]; ok {
			v = value{text, "environment " + s.Env()}
		}
		if text, ok := src.Flags[s.Key]; ok {
			v = value{text, "flag --" + s.Key}
		}
		c.values[s.Key] = v
		if err := s.parse(c, v.text); err != nil {
			problems = append(problems, fmt.Errorf("%s=%q (from %s) %w; wanted: %s", s.Key, s.shown(v.text), v.source, err, s.Help))
		}
	}
	if c.ClockOffset != 0 && !c.Testing {
		v := c.values["clock-offset"]
		problems = append(problems, fmt.Errorf("clock-offset=%q (from %s) is refused: every deadline of this process would be wrong; if that is wanted, say testing=yes, too", v.text, v.source))
	}
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return c, errors.Join(problems...)
}

// Variables with our prefix that are no settings: the file of settings, what tests are told, and what Kubernetes tells
// every container of the services beside it, which may be called carryon.
var notSettings = regexp.MustCompile(`^CARRYON_(CONFIG|TEST_[A-Z0-9_]+|([A-Z0-9_]+_)?(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?))$`)

// environment picks out our variables, and reports those that are no settings: a mistyped one would have no effect.
func environment(all []string, settings []Setting) (map[string]string, []error) {
	env := map[string]string{}
	var problems []error
	for _, pair := range all {
		name, text, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "CARRYON_") {
			continue
		}
		switch {
		case slices.ContainsFunc(settings, func(s Setting) bool { return s.Env() == name }):
			env[name] = text
		case notSettings.MatchString(name), strings.HasSuffix(name, "_PORT") && strings.Contains(text, "://"):
		default:
			problems = append(problems, fmt.Errorf("environment: %s is not a setting; `carryon config` lists them", name))
		}
	}
	return env, problems
}

// Environ is the effective configuration as variables, secrets and all, for another process of this program.
func (c *Config) Environ() []string {
	var env []string
	for _, s := range Settings() {
		env = append(env, s.Env()+"="+c.values[s.Key].text)
	}
	return env
}

// Print writes the effective configuration as YAML that can be used as a file, each setting with its source. Secrets are
// redacted, and left out of the file: what stands for one is none.
func (c *Config) Print(w io.Writer) error {
	for _, s := range Settings() {
		v := c.values[s.Key]
		text, key := strconv.Quote(s.shown(v.text)), s.Key
		if s.Secret && v.text != "" {
			key = "# " + key
		}
		if _, err := fmt.Fprintf(w, "# %s [%s]\n%s: %s # %s\n", s.Help, s.Env(), key, text, v.source); err != nil {
			return err
		}
	}
	return nil
}

// Loopback tells whether the server can only be reached from this machine.
func (c *Config) Loopback() bool {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func readFile(path string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("%s is not YAML with one setting a line: %w", path, err)
	}
	out := make(map[string]string, len(doc))
	for key, v := range doc {
		switch v := v.(type) {
		case nil:
			out[key] = ""
		case []any:
			parts := make([]string, len(v))
			for i := range v {
				parts[i] = fmt.Sprint(v[i])
			}
			out[key] = strings.Join(parts, ",")
		default:
			out[key] = fmt.Sprint(v)
		}
	}
	return out, nil
}

func notEmpty(v string) error {
	if v == "" {
		return errors.New("is empty")
	}
	return nil
}

func oneOf(v string, known ...string) error {
	if !slices.Contains(known, v) {
		return fmt.Errorf("is none of %s", strings.Join(known, ", "))
	}
	return nil
}

func parseRoles(c *Config, v string) error {
	c.Roles = nil
	for role := range strings.SplitSeq(v, ",") {
		role = strings.TrimSpace(role)
		if err := oneOf(role, "command", "projector", "query"); err != nil {
			return fmt.Errorf("has %q, which %w", role, err)
		}
		if !slices.Contains(c.Roles, role) {
			c.Roles = append(c.Roles, role)
		}
	}
	return nil
}

func address(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error {
		*field(c) = v
		_, port, err := net.SplitHostPort(v)
		if err != nil {
			return fmt.Errorf("is not host:port: %w", err)
		}
		if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			return errors.New("has a port that is not a number from 0 to 65535")
		}
		return nil
	}
}

func optional(parse func(*Config, string) error) func(*Config, string) error {
	return func(c *Config, v string) error {
		if v == "" {
			return nil
		}
		return parse(c, v)
	}
}

func pairs(field func(*Config) *map[string]string) func(*Config, string) error {
	return func(c *Config, v string) error {
		m := map[string]string{}
		for pair := range strings.SplitSeq(v, ",") {
			if pair = strings.TrimSpace(pair); pair == "" {
				continue
			}
			from, to, ok := strings.Cut(pair, "=")
			for _, end := range []string{from, to} {
				if _, _, err := net.SplitHostPort(end); !ok || err != nil {
					return fmt.Errorf("has %q, which is not host:port=host:port", pair)
				}
			}
			m[from] = to
		}
		*field(c) = m
		return nil
	}
}

func text(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error { *field(c) = v; return nil }
}

func notBlank(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error { *field(c) = v; return notEmpty(v) }
}

// name is what all stores take for the name of a thing.
func name(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error {
		*field(c) = v
		for i, r := range v {
			if (r < 'a' || r > 'z') && (i == 0 || r != '_' && (r < '0' || r > '9')) {
				return errors.New("is not lower-case letters, digits and _, beginning with a letter")
			}
		}
		if len(v) > 40 {
			return errors.New("is longer than 40 characters")
		}
		return notEmpty(v)
	}
}

func list(field func(*Config) *[]string) func(*Config, string) error {
	return func(c *Config, v string) error {
		*field(c) = nil
		for part := range strings.SplitSeq(v, ",") {
			part = strings.TrimSpace(part)
			if part == "" {
				return errors.New("has an empty part")
			}
			*field(c) = append(*field(c), part)
		}
		return nil
	}
}

func withoutPassword(v string) string {
	u, err := url.Parse(v)
	if err != nil {
		return "(redacted)" // who knows what is in it
	}
	return u.Redacted()
}

// webURL takes a URL of HTTP without a path.
func webURL(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error {
		u, err := url.Parse(v)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" && u.Path != "/" || u.User != nil || u.RawQuery != "" {
			return errors.New("is no URL such as http://127.0.0.1:8080")
		}
		*field(c) = v
		return nil
	}
}

func postgresURL(c *Config, v string) error {
	c.Postgres.URL = v
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Host == "" {
		return errors.New("is not a URL such as postgres://user@host:5432/database?sslmode=verify-full")
	}
	if _, has := u.User.Password(); has {
		return errors.New("holds a password, which belongs into postgres-password-file")
	}
	return nil
}

func within(low, high time.Duration, field func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil {
			return errors.New("is not a duration such as 500ms, 10s or 2m")
		}
		if d < low || d > high {
			return fmt.Errorf("is outside %s to %s", low, high)
		}
		*field(c) = d
		return nil
	}
}

func number(low, high int64, set func(*Config, int64)) func(*Config, string) error {
	return func(c *Config, v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return errors.New("is not a whole number")
		}
		if n < low || n > high {
			return fmt.Errorf("is outside %d to %d", low, high)
		}
		set(c, n)
		return nil
	}
}

// secret is the base64 of 32 bytes.
func secret(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error {
		*field(c) = v
		if b, err := base64.StdEncoding.DecodeString(v); err != nil || len(b) != 32 {
			return errors.New("is not the base64 of 32 bytes") // the text is secret
		}
		return nil
	}
}
