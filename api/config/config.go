// Package config reads the settings of a process: flags before environment before file before defaults. Every setting
// is one row of one table, so that the flag, the environment variable, the key in the file, the help and the redacted
// print of the effective configuration can't drift apart; and all mistakes are reported at once, each with its source.
package config

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Config is the effective configuration of a process.
type Config struct {
	Data            string        // folder of everything that is kept
	Profile         string        // embedded
	Roles           []string      // command, projector, query
	Listen          string        // host:port of the HTTP server
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

	values map[string]value
}

type value struct{ text, source string }

// Setting is one row of the table.
type Setting struct {
	Key     string // in the file and, with -- before it, as a flag
	Default string
	Help    string // shape, unit, range
	Secret  bool   // never printed
	parse   func(*Config, string) error
}

// Env is the environment variable of the setting.
func (s Setting) Env() string {
	return "CARRYON_" + strings.ToUpper(strings.ReplaceAll(s.Key, "-", "_"))
}

// Settings is the table.
func Settings() []Setting {
	return []Setting{
		{Key: "data", Default: "carryon-data", Help: "folder of everything that is kept", parse: func(c *Config, v string) error { c.Data = v; return notEmpty(v) }},
		{Key: "profile", Default: "embedded", Help: "embedded: SQLite and in-process messages, one process", parse: func(c *Config, v string) error { c.Profile = v; return oneOf(v, "embedded") }},
		{Key: "roles", Default: "command,projector,query", Help: "what this process does: command, projector, query, in any mix; the embedded profile needs all three", parse: parseRoles},
		{Key: "listen", Default: "127.0.0.1:8080", Help: "host:port of the HTTP server; loopback unless you say otherwise; port 0 takes a free one", parse: parseListen},
		{Key: "log-level", Default: "info", Help: "debug, info, warn or error", parse: func(c *Config, v string) error { c.LogLevel = v; return oneOf(v, "debug", "info", "warn", "error") }},
		{Key: "log-format", Default: "text", Help: "text or json", parse: func(c *Config, v string) error { c.LogFormat = v; return oneOf(v, "text", "json") }},
		{Key: "master-key", Help: "base64 of the 32 bytes that wrap the customers' keys; empty: kept in the data folder", Secret: true, parse: func(c *Config, v string) error { c.MasterKey = v; return nil }},
		{Key: "command-timeout", Default: "10s", Help: "100ms to 5m: until a command's caller is told that the outcome is unknown", parse: within(100*time.Millisecond, 5*time.Minute, func(c *Config) *time.Duration { return &c.CommandTimeout })},
		{Key: "query-timeout", Default: "15s", Help: "100ms to 5m: until a query is given up", parse: within(100*time.Millisecond, 5*time.Minute, func(c *Config) *time.Duration { return &c.QueryTimeout })},
		{Key: "shutdown-timeout", Default: "20s", Help: "1s to 10m: for draining, altogether", parse: within(time.Second, 10*time.Minute, func(c *Config) *time.Duration { return &c.ShutdownTimeout })},
		{Key: "reference-max-age", Default: "30s", Help: "1s to 1h: how stale policies and withdrawals may be before commands are refused", parse: within(time.Second, time.Hour, func(c *Config) *time.Duration { return &c.ReferenceMaxAge })},
		{Key: "shard-queue", Default: "4096", Help: "1 to 1000000: commands that may wait per shard; beyond, 503", parse: number(1, 1_000_000, func(c *Config, n int64) { c.ShardQueue = int(n) })},
		{Key: "customer-queue", Default: "64", Help: "1 to 100000: commands that may wait per customer; beyond, 503", parse: number(1, 100_000, func(c *Config, n int64) { c.CustomerQueue = int(n) })},
		{Key: "cache-bytes", Default: "268435456", Help: "1048576 and more: memory for folded customers", parse: number(1<<20, 1<<40, func(c *Config, n int64) { c.CacheBytes = n })},
		{Key: "snapshot-every", Default: "100", Help: "10 to 100000: events of a stream between two snapshots", parse: number(10, 100_000, func(c *Config, n int64) { c.SnapshotEvery = int(n) })},
		{Key: "max-in-flight", Default: "1024", Help: "1 to 100000: HTTP requests at once; beyond, 503", parse: number(1, 100_000, func(c *Config, n int64) { c.MaxInFlight = int(n) })},
	}
}

// Sources are where settings come from, strongest first.
type Sources struct {
	Flags map[string]string           // by key; only those that were given
	Env   func(string) (string, bool) // os.LookupEnv
	File  string                      // path of a YAML or JSON file; empty: none
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
	for _, s := range settings {
		v := value{s.Default, "default"}
		if text, ok := file[s.Key]; ok {
			v = value{text, "file " + src.File}
		}
		if src.Env != nil {
			if text, ok := src.Env(s.Env()); ok {
				v = value{text, "environment " + s.Env()}
			}
		}
		if text, ok := src.Flags[s.Key]; ok {
			v = value{text, "flag --" + s.Key}
		}
		c.values[s.Key] = v
		if err := s.parse(c, v.text); err != nil {
			shown := v.text
			if s.Secret {
				shown = "(redacted)"
			}
			problems = append(problems, fmt.Errorf("%s=%q (from %s) %w; wanted: %s", s.Key, shown, v.source, err, s.Help))
		}
	}
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return c, errors.Join(problems...)
}

// Print writes the effective configuration as YAML that can be used as a file, secrets redacted, each with its source.
func (c *Config) Print(w io.Writer) error {
	for _, s := range Settings() {
		v := c.values[s.Key]
		text := strconv.Quote(v.text)
		if s.Secret && v.text != "" {
			text = `"(redacted)"`
		}
		if _, err := fmt.Fprintf(w, "# %s [%s]\n%s: %s # %s\n", s.Help, s.Env(), s.Key, text, v.source); err != nil {
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

func parseListen(c *Config, v string) error {
	c.Listen = v
	_, port, err := net.SplitHostPort(v)
	if err != nil {
		return fmt.Errorf("is not host:port: %w", err)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return errors.New("has a port that is not a number from 0 to 65535")
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
