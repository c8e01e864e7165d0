package cassandra

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestEveryWrongSettingIsNamed(t *testing.T) {
	t.Parallel()
	good := Config{Hosts: []string{"127.0.0.1:9042"}, Keyspace: "carryon"}.withDefaults()
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for field, spoil := range map[string]func(*Config){
		"Hosts":                func(c *Config) { c.Hosts = nil },
		"Keyspace":             func(c *Config) { c.Keyspace = "x; DROP KEYSPACE y" },
		"Replication":          func(c *Config) { c.Replication = 10 },
		"Scope":                func(c *Config) { c.Scope = 7 },
		"Datacenter":           func(c *Config) { c.Scope = OneDatacenter },
		"User":                 func(c *Config) { c.PasswordFile = "x" },
		"PasswordFile":         func(c *Config) { c.User = "x" },
		"CertFile, KeyFile":    func(c *Config) { c.CAFile, c.CertFile = "ca", "x" },
		"CAFile":               func(c *Config) { c.ServerName = "x" },
		"Layout.Shards":        func(c *Config) { c.Layout.Shards = 1025 },
		"Layout.LogBucket":     func(c *Config) { c.Layout.LogBucket = -1 },
		"Layout.HistoryBucket": func(c *Config) { c.Layout.HistoryBucket = 1 << 30 },
		"Timeout":              func(c *Config) { c.Timeout = time.Microsecond },
		"Connect":              func(c *Config) { c.Connect = -1 },
		"Connections":          func(c *Config) { c.Connections = 1000 },
		"PerNode":              func(c *Config) { c.PerNode = -1 },
		"Accept":               func(c *Config) { c.Accept = []string{"anything"} },
	} {
		c := good
		spoil(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), field+": ") && !strings.Contains(err.Error(), field+" ") {
			t.Errorf("%s: %v", field, err)
		}
	}
	both := good
	both.Hosts, both.Keyspace = nil, ""
	if err := both.Validate(); err == nil || !strings.Contains(err.Error(), "Hosts") || !strings.Contains(err.Error(), "Keyspace") {
		t.Errorf("not all at once: %v", err)
	}
}

func TestThePasswordIsTheFirstLineOfItsFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "password")
	for text, want := range map[string]string{"secret\n": "secret", "secret": "secret", "se cret\r\nmore": "se cret", "\nsecret": "", "": ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readPassword(path)
		if got != want || (want == "") != (err != nil) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error gives it away: %v", err)
		}
	}
}

func TestTheDriverIsToldToRepeatNothing(t *testing.T) {
	t.Parallel()
	c := Config{Hosts: []string{"h"}, Keyspace: "k"}.withDefaults()
	d, err := c.cluster(c.Hosts, c.Keyspace)
	if err != nil {
		t.Fatal(err)
	}
	if d.RetryPolicy != nil || d.DefaultIdempotence || d.WriteCoalesceWaitTime != 0 {
		t.Errorf("retries %v, idempotent %v, waits %s", d.RetryPolicy, d.DefaultIdempotence, d.WriteCoalesceWaitTime)
	}
}

func TestNoClockOfAProcessSaysWhichWriteIsNewer(t *testing.T) {
	t.Parallel()
	c := Config{Hosts: []string{"127.0.0.1:9042"}, Keyspace: "carryon"}.withDefaults()
	d, err := c.cluster(c.Hosts, c.Keyspace)
	if err != nil {
		t.Fatal(err)
	}
	if d.DefaultTimestamp {
		t.Error("the driver stamps what it writes with the process's clock")
	}
}
