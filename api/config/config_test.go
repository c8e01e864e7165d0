package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carryon/api/config"
)

func env(pairs map[string]string) []string {
	var out []string
	for name, text := range pairs {
		out = append(out, name+"="+text)
	}
	return out
}

func TestFlagsBeatEnvironmentBeatsFileBeatsDefaults(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("command-timeout: 1s\nquery-timeout: 2s\nshard-queue: 7\nroles: [command, query]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Sources{
		Flags: map[string]string{"command-timeout": "3s"},
		Env:   env(map[string]string{"CARRYON_COMMAND_TIMEOUT": "4s", "CARRYON_QUERY_TIMEOUT": "5s"}),
		File:  file,
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.CommandTimeout != 3*time.Second || c.QueryTimeout != 5*time.Second || c.ShardQueue != 7 || c.Listen != "127.0.0.1:8080" || len(c.Roles) != 2 {
		t.Fatalf("wrong order of sources: %+v", c)
	}
}

func TestEveryMistakeIsReportedAtOnceWithItsSource(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("lisden: x\nroles: boss\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := config.Load(config.Sources{
		Flags: map[string]string{"listen": "nowhere", "shard-queue": "-1"},
		Env:   env(map[string]string{"CARRYON_QUERY_TIMEOUT": "0s", "CARRYON_CACHE_BYTES": "much"}),
		File:  file,
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"lisden is not a setting", `roles="boss"`, `listen="nowhere" (from flag --listen)`, `shard-queue="-1"`, `query-timeout="0s" (from environment CARRYON_QUERY_TIMEOUT)`, `cache-bytes="much"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
}

func TestAVariableWithOurPrefixThatIsNoSettingIsNamed(t *testing.T) {
	t.Parallel()
	_, err := config.Load(config.Sources{Env: []string{"CARRYON_BOGUS=1", "CARRYON_PORT=80", "CARRYON_LISTN=x", "PATH=/bin", "CARRYON_LISTEN=127.0.0.1:9"}})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"CARRYON_BOGUS is not a setting", "CARRYON_PORT is not a setting", "CARRYON_LISTN is not a setting"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "PATH") || strings.Contains(err.Error(), "CARRYON_LISTEN ") {
		t.Errorf("too much is named:\n%v", err)
	}
	// The file of settings, what tests are told, and what Kubernetes tells of services called carryon and carryon-query.
	for _, known := range []string{
		"CARRYON_CONFIG=x.yaml", "CARRYON_TEST_KAFKA=127.0.0.1:9092", "CARRYON_SERVICE_HOST=10.0.0.1", "CARRYON_SERVICE_PORT=8080", "CARRYON_SERVICE_PORT_HTTP=8080",
		"CARRYON_PORT=tcp://10.0.0.1:8080", "CARRYON_PORT_8080_TCP=tcp://10.0.0.1:8080", "CARRYON_QUERY_PORT_8080_TCP_ADDR=10.0.0.1", "CARRYON_QUERY_SERVICE_HOST=10.0.0.2",
	} {
		if _, err := config.Load(config.Sources{Env: []string{known}}); err != nil {
			t.Errorf("%s: %v", known, err)
		}
	}
}

// masterKey looks like one.
const masterKey = "aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMiEhISE="

func TestPrintedConfigurationIsAFileAndHidesSecrets(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.Sources{Flags: map[string]string{"master-key": masterKey, "listen": "127.0.0.1:9"}})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := c.Print(&out); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), masterKey) {
		t.Fatalf("a secret was printed:\n%s", out.String())
	}
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte(out.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := config.Load(config.Sources{File: file})
	if err != nil {
		t.Fatalf("the print can't be read back: %v", err)
	}
	if again.Listen != "127.0.0.1:9" {
		t.Fatalf("listen became %q", again.Listen)
	}
}

func TestLoopbackKnowsLocalAddresses(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]bool{"127.0.0.1:80": true, "[::1]:80": true, "localhost:80": true, "0.0.0.0:80": false, ":80": false, "192.0.2.1:80": false} {
		c, err := config.Load(config.Sources{Flags: map[string]string{"listen": listen}})
		if err != nil {
			t.Fatal(err)
		}
		if c.Loopback() != want {
			t.Errorf("%s: loopback %v, want %v", listen, c.Loopback(), want)
		}
	}
}

func TestAPasswordInAnAddressIsRefusedAndNotShown(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"postgres://u:hunter2@db/carryon", "postgres://u:hunter2@db:99999999/x", "postgres://u:hunter2@%zz/"} {
		_, err := config.Load(config.Sources{Flags: map[string]string{"postgres": address}})
		if err == nil || !strings.Contains(err.Error(), "postgres=") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestSettingsOfTheDistributedProfileAreChecked(t *testing.T) {
	t.Parallel()
	for key, wrong := range map[string]string{
		"shards": "0", "cassandra": "a:1,,b:2", "cassandra-keyspace": "Robert'); DROP", "cassandra-replication": "ten",
		"kafka-topic": "", "kafka-mechanism": "none", "elasticsearch-prefix": "9x", "elasticsearch-replicas": "-1",
		"internal-listen": "here", "internal-address": "there", "postgres": "mysql://x/y",
	} {
		_, err := config.Load(config.Sources{Flags: map[string]string{key: wrong}})
		if err == nil || !strings.Contains(err.Error(), key+"=") {
			t.Errorf("%s=%s: %v", key, wrong, err)
		}
	}
}

func TestAWrongClockIsSetOnPurposeOnly(t *testing.T) {
	t.Parallel()
	if _, err := config.Load(config.Sources{Flags: map[string]string{"clock-offset": "3h"}}); err == nil || !strings.Contains(err.Error(), "testing=yes") {
		t.Errorf("without testing: %v", err)
	}
	c, err := config.Load(config.Sources{Flags: map[string]string{"clock-offset": "-3h", "testing": "yes"}})
	if err != nil || c.ClockOffset != -3*time.Hour {
		t.Errorf("with testing: %v, %v", c.ClockOffset, err)
	}
}

func TestAddressesAreReachedByOthers(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.Sources{Flags: map[string]string{"reach-by": "127.0.0.1:9042=127.0.0.1:1, [::1]:9092=host:2"}})
	if err != nil || len(c.ReachBy) != 2 || c.ReachBy["127.0.0.1:9042"] != "127.0.0.1:1" || c.ReachBy["[::1]:9092"] != "host:2" {
		t.Errorf("%v, %v", c.ReachBy, err)
	}
	for _, wrong := range []string{"127.0.0.1:9042", "a=b", "a:1=b", "a:1="} {
		if _, err := config.Load(config.Sources{Flags: map[string]string{"reach-by": wrong}}); err == nil || !strings.Contains(err.Error(), "host:port=host:port") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}

func TestTheEnvironmentOfAnotherProcessSaysTheSame(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.Sources{Flags: map[string]string{"master-key": masterKey, "shards": "7", "kafka": "a:1,b:2"}})
	if err != nil {
		t.Fatal(err)
	}
	pairs := map[string]string{}
	for _, pair := range c.Environ() {
		key, value, _ := strings.Cut(pair, "=")
		pairs[key] = value
	}
	again, err := config.Load(config.Sources{Env: env(pairs)})
	if err != nil || again.MasterKey != masterKey || again.Shards != 7 || len(again.Kafka.Brokers) != 2 {
		t.Errorf("%+v, %v", again, err)
	}
}
