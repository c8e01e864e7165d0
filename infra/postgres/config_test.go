package postgres

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestValidateNamesEveryFieldThatIsWrong(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := Config{Host: "db", Database: "carryon", User: "carryon", PasswordFile: file}
	for name, c := range map[string]struct {
		change func(*Config)
		wants  []string // none: it is in order
	}{
		"fields":              {func(*Config) {}, nil},
		"a URL":               {func(c *Config) { *c = Config{URL: "postgres://u@h/d?sslmode=verify-full"} }, nil},
		"nothing":             {func(c *Config) { *c = Config{} }, []string{"Host is missing", "Database is missing", "User is missing"}},
		"both":                {func(c *Config) { c.URL = "postgres://u@h/d?sslmode=disable" }, []string{"URL and Host"}},
		"no URL":              {func(c *Config) { *c = Config{URL: "mysql://u@h/d?sslmode=disable"} }, []string{"URL is no postgres"}},
		"a URL without TLS":   {func(c *Config) { *c = Config{URL: "postgres://u@h/d"} }, []string{"sslmode"}},
		"a URL with two":      {func(c *Config) { *c = Config{URL: "postgres://u@h/d?sslmode=disable", TLS: TLS{Mode: "require"}} }, []string{"sslmode"}},
		"a mode":              {func(c *Config) { c.TLS.Mode = "prefer" }, []string{`TLS.Mode is "prefer"`}},
		"files that are away": {func(c *Config) { c.TLS.CAFile, c.PasswordFile = "/nowhere/ca", "/nowhere/pw" }, []string{"TLS.CAFile", "PasswordFile"}},
		"half a certificate":  {func(c *Config) { c.TLS.CertFile = file }, []string{"TLS.CertFile and TLS.KeyFile"}},
		"two passwords":       {func(c *Config) { c.Password = "p" }, []string{"Password and PasswordFile"}},
		"a prefix":            {func(c *Config) { c.Prefix = `x"; DROP` }, []string{"Prefix"}},
		"numbers":             {func(c *Config) { c.Port, c.WriteConnections, c.ReadConnections = 70000, -1, 1001 }, []string{"Port", "WriteConnections", "ReadConnections"}},
		"times":               {func(c *Config) { c.HoldTimeout, c.ReadTimeout = -time.Second, time.Microsecond }, []string{"HoldTimeout", "ReadTimeout"}},
	} {
		config := good
		c.change(&config)
		err := config.Validate()
		if (err == nil) != (len(c.wants) == 0) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range c.wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", name, err, want)
			}
		}
	}
}

func TestConnectionsAreMadeAsConfigured(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "password")
	if err := os.WriteFile(file, []byte("first\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := Open(Config{Host: "db.example", Database: "carryon", User: "u", PasswordFile: file, TLS: TLS{Mode: "require"}, HoldTimeout: 7 * time.Second})
	if err != nil {
		t.Fatal(err) // nothing is dialled yet
	}
	t.Cleanup(db.Close)
	c := db.write.Config().ConnConfig
	if c.Host != "db.example" || c.Port != 5432 || c.User != "u" || c.TLSConfig == nil || len(c.Fallbacks) > 0 {
		t.Errorf("host %s, port %d, user %s, TLS %v, fallbacks %d", c.Host, c.Port, c.User, c.TLSConfig != nil, len(c.Fallbacks))
	}
	if got := c.RuntimeParams["idle_in_transaction_session_timeout"]; got != "7000" {
		t.Errorf("a transaction may be idle for %s ms", got)
	}
	if got := db.read.Config().ConnConfig.RuntimeParams["default_transaction_read_only"]; got != "on" {
		t.Errorf("readers' transactions are read-only: %s", got)
	}
	for _, password := range []string{"first", "second"} {
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := db.write.Config().BeforeConnect(t.Context(), c); err != nil || c.Password != password {
			t.Errorf("the password is %q, %v", c.Password, err)
		}
	}
	full, err := Config{Host: "h", Database: "d", User: "u"}.withDefaults().pool("test", 1, nil)
	if err != nil || full.ConnConfig.TLSConfig == nil || full.ConnConfig.TLSConfig.InsecureSkipVerify || full.ConnConfig.TLSConfig.ServerName != "h" {
		t.Errorf("without a word about TLS the server is not checked: %v", err)
	}
}
