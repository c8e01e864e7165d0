//go:build real || ring

package cassandra_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// nodes are servers of a test's own, on addresses of their own, with what they keep in a folder of their own.
type nodes struct {
	t    *testing.T
	size int
	run  string
	env  []string
}

func startNodes(t *testing.T, size int, net, jmx string, env ...string) *nodes {
	t.Helper()
	run, err := os.MkdirTemp("", "carryon-nodes-") //nolint:usetesting // the servers must be stopped before it is removed
	if err != nil {
		t.Fatal(err)
	}
	n := &nodes{t: t, size: size, run: run}
	n.env = append(append(os.Environ(), "STACK_RUN="+run, "CASSANDRA_NET="+net, "CASSANDRA_JMX="+jmx, "CASSANDRA_SYNC=group"), env...)
	t.Cleanup(func() {
		n.script("wipe")
		if err := os.RemoveAll(run); err != nil {
			t.Error(err)
		}
	})
	n.up()
	return n
}

// up starts those that are not up.
func (n *nodes) up() {
	n.t.Helper()
	n.script("up", strconv.Itoa(n.size))
}

func (n *nodes) script(args ...string) {
	n.t.Helper()
	cmd := exec.Command(filepath.Join("..", "..", "scripts", "stack", "cassandra", "cassandra"), args...)
	cmd.Env = n.env
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// kill ends a node at once, as a power cut would.
func (n *nodes) kill(node int) {
	n.t.Helper()
	text, err := os.ReadFile(filepath.Join(n.run, "cassandra", strconv.Itoa(n.size), fmt.Sprint("node", node), "pid"))
	if err != nil {
		n.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		n.t.Fatal(err)
	}
	process, err := os.FindProcess(pid)
	if err == nil {
		err = process.Kill()
	}
	if err != nil {
		n.t.Fatal(err)
	}
}
