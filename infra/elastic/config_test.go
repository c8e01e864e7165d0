package elastic

import (
	"strings"
	"testing"
	"time"
)

func TestSettingsThatAreWrongAreNamed(t *testing.T) {
	t.Parallel()
	many := 99
	good := Config{Addresses: []string{"http://localhost:9200"}}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for field, spoil := range map[string]func(*Config){
		"Addresses":       func(c *Config) { c.Addresses = []string{"localhost:9200"} },
		"Username":        func(c *Config) { c.Username = "elastic" },
		"Password":        func(c *Config) { c.Username, c.Password, c.PasswordFile = "elastic", "x", "config_test.go" },
		"PasswordFile":    func(c *Config) { c.Username, c.PasswordFile = "elastic", "no such file" },
		"APIKeyFile":      func(c *Config) { c.APIKeyFile = "no such file" },
		"CAFile":          func(c *Config) { c.CAFile = "no such file" },
		"Prefix":          func(c *Config) { c.Prefix = "Carryon*" },
		"Replicas":        func(c *Config) { c.Replicas = &many },
		"Primaries":       func(c *Config) { c.Primaries = -1 },
		"InFlight":        func(c *Config) { c.InFlight = 1000 },
		"BulkBytes":       func(c *Config) { c.BulkBytes = 10 },
		"BulkEach":        func(c *Config) { c.BulkEach = -1 },
		"RefreshInterval": func(c *Config) { c.RefreshInterval = time.Nanosecond },
		"Patience":        func(c *Config) { c.Patience = -1 },
		"RequestTimeout":  func(c *Config) { c.RequestTimeout = -1 },
	} {
		c := good
		spoil(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	secret := Config{Addresses: []string{"http://elastic:hunter2@localhost:9200"}}
	if err := secret.Validate(); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("an address with a password: %v", err)
	}
}
