// Package stack has no program: docker-compose.yml is held against the scripts beside it here.
package stack

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"gopkg.in/yaml.v3"
)

// composed is docker-compose.yml as Compose itself reads it, against its schema.
func composed(t *testing.T) *types.Project {
	t.Helper()
	o, err := cli.NewProjectOptions([]string{"../../docker-compose.yml"}, cli.WithInterpolation(true))
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.LoadProject(t.Context())
	if err != nil {
		t.Fatalf("docker-compose.yml: %v", err)
	}
	return p
}

func service(t *testing.T, name string) types.ServiceConfig {
	t.Helper()
	s, err := composed(t).GetService(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// found is what the first group of a pattern matches in a file.
func found(t *testing.T, path, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(read(t, path))
	if m == nil {
		t.Fatalf("%s has nothing like %s", path, pattern)
	}
	return m[1]
}

// settings are the lines of a file that say key and value, without comments and quotes.
func settings(t *testing.T, path, between string) map[string]string {
	t.Helper()
	all := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(read(t, path)))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), " #")
		if key, value, is := strings.Cut(line, between); is && !strings.HasPrefix(line, "#") {
			all[strings.TrimSpace(key)] = strings.Trim(strings.TrimSpace(value), `'"`)
		}
	}
	return all
}

func TestComposeHasTheVersionsOfTheScripts(t *testing.T) {
	for name, image := range map[string]string{
		"cassandra":     "cassandra:" + found(t, "cassandra/pom.xml", `<version>(5\.[0-9.]+)</version>`),
		"kafka":         "apache/kafka:" + found(t, "kafka/pom.xml", `<kafka.version>(.*)</kafka.version>`),
		"elasticsearch": "docker.elastic.co/elasticsearch/elasticsearch:" + found(t, "elasticsearch/elasticsearch", `ES_VERSION:-([0-9.]+)`),
		"postgres":      "postgres:15", // whatever the distribution has of it
	} {
		if s := service(t, name); s.Image != image {
			t.Errorf("%s is %s, the scripts have %s", name, s.Image, image)
		}
	}
}

func TestComposePublishesOnLoopbackWhereTheScriptsDo(t *testing.T) {
	for name, port := range map[string]string{
		"cassandra": "9042", "kafka": found(t, "kafka/kafka", `KAFKA_PORT:-([0-9]+)`),
		"elasticsearch": found(t, "elasticsearch/elasticsearch", `ES_PORT:-([0-9]+)`), "postgres": found(t, "postgres/postgres", `PG_PORT:-([0-9]+)`),
	} {
		s := service(t, name)
		if len(s.Ports) != 1 || s.Ports[0].HostIP != "127.0.0.1" || s.Ports[0].Published != port {
			t.Errorf("%s publishes %v, the scripts 127.0.0.1:%s", name, s.Ports, port)
		}
		if s.HealthCheck == nil || len(s.Volumes) != 1 {
			t.Errorf("%s has no health check, or does not keep its data: %v", name, s.Volumes)
		}
	}
}

// The settings of Cassandra are written by a script of the container's: it is run here on a file like the image's.
func TestComposeSetsCassandraAsTheScriptsDo(t *testing.T) {
	s := service(t, "cassandra")
	if len(s.Entrypoint) != 3 || s.Entrypoint[0] != "bash" || s.Entrypoint[1] != "-ec" {
		t.Fatalf("the entry point is %v", s.Entrypoint)
	}
	conf := filepath.Join(t.TempDir(), "cassandra.yaml")
	const shipped = "cluster_name: 'Test Cluster'\ncommitlog_sync: periodic\ncommitlog_sync_period: 10000ms\n# paxos_variant: v1\nconcurrent_writes: 32\n" +
		"read_request_timeout: 5000ms\nstorage_compatibility_mode: CASSANDRA_4\n"
	if err := os.WriteFile(conf, []byte(shipped), 0o600); err != nil {
		t.Fatal(err)
	}
	script := strings.ReplaceAll(s.Entrypoint[2], "$$", "$") // as Compose hands it over
	script = strings.Replace(script, "/etc/cassandra/cassandra.yaml", conf, 1)
	script, start, _ := strings.Cut(script, "exec ")
	if said, err := exec.CommandContext(t.Context(), "bash", "-ec", script).CombinedOutput(); err != nil || !strings.HasPrefix(start, "docker-entrypoint.sh cassandra -f") {
		t.Fatalf("%v: %s; then %s", err, said, start)
	}
	var got map[string]any
	if err := yaml.Unmarshal([]byte(read(t, conf)), &got); err != nil {
		t.Fatal(err)
	}
	want := settings(t, "cassandra/cassandra.yaml.tmpl", ": ")
	want["commitlog_sync"], want["commitlog_sync_group_window"] = "group", found(t, "cassandra/cassandra", `'commitlog_sync_group_window: ([0-9a-z]+)'`)
	changed := 0
	for _, line := range strings.Split(script, "\n") {
		key, value, is := strings.Cut(strings.TrimSpace(line), ": ")
		if !is || !regexp.MustCompile(`^[a-z_]+$`).MatchString(key) {
			continue
		}
		changed++
		if want[key] != value || fmt.Sprint(got[key]) != value {
			t.Errorf("%s is %v in the file and %s in Compose, the scripts have %q", key, got[key], value, want[key])
		}
	}
	if _, is := got["commitlog_sync_period"]; is || changed < 9 || got["cluster_name"] != "Test Cluster" {
		t.Errorf("%d settings were changed: %v", changed, got)
	}
	for _, key := range []string{"paxos_variant", "storage_compatibility_mode", "concurrent_writes", "cas_contention_timeout"} {
		if got[key] == nil {
			t.Errorf("Compose says nothing of %s", key)
		}
	}
}

func TestComposeSetsKafkaAsTheScriptsDo(t *testing.T) {
	ours := settings(t, "kafka/server.properties", "=")
	for key, value := range service(t, "kafka").Environment {
		name := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(key, "KAFKA_")), "_", ".")
		switch name {
		case "heap.opts":
			if heap := "-Xmx" + found(t, "kafka/kafka", `KAFKA_HEAP:-([0-9a-z]+)`); *value != heap {
				t.Errorf("%s is %s, the scripts have %s", key, *value, heap)
			}
		case "log.dirs", "listeners", "advertised.listeners", "controller.quorum.voters": // of the container's own network and volume
		default:
			if ours[name] != *value {
				t.Errorf("%s is %q, the scripts have %q", name, *value, ours[name])
			}
		}
	}
}

func TestComposeSetsElasticsearchAndPostgresAsTheScriptsDo(t *testing.T) {
	ours := settings(t, "elasticsearch/elasticsearch.yml", ": ")
	for key, value := range service(t, "elasticsearch").Environment {
		if key == "ES_JAVA_OPTS" {
			heap := found(t, "elasticsearch/elasticsearch", `ES_HEAP:-([0-9a-z]+)`)
			if *value != "-Xms"+heap+" -Xmx"+heap {
				t.Errorf("the heap is %s, the scripts have %s", *value, heap)
			}
		} else if ours[key] != *value {
			t.Errorf("%s is %q, the scripts have %q", key, *value, ours[key])
		}
	}
	ours = settings(t, "postgres/postgresql.conf", " = ")
	command := service(t, "postgres").Command
	for i := 1; i+1 < len(command); i += 2 {
		key, value, _ := strings.Cut(command[i+1], "=")
		if command[i] != "-c" || ours[key] != value {
			t.Errorf("%s %s: the scripts have %q", command[i], command[i+1], ours[key])
		}
	}
	if len(command) < 7 {
		t.Errorf("Postgres is started with %v", command)
	}
}
