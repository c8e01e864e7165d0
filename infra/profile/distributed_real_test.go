//go:build real

package profile_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"carryon/infra/profile"
	"carryon/query"
)

// Everything together, as an operator runs it: the program itself, several processes of it on real servers, killed with
// -9 and started again under a load, and audited at the end.

// town is a set of processes that share one store.
type town struct {
	t       testing.TB
	program string
	dir     string
	flags   map[string]string
	env     []string
}

func newTown(t testing.TB, replication int) *town {
	t.Helper()
	w := &town{t: t, program: filepath.Join(t.TempDir(), "carryon"), dir: t.TempDir()}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", w.program, "carryon").CombinedOutput(); err != nil {
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	w.env, w.flags = os.Environ(), profile.Provision(t, replication)
	for key, value := range w.flags {
		w.env = append(w.env, "CARRYON_"+strings.ToUpper(strings.ReplaceAll(key, "-", "_"))+"="+value)
	}
	return w
}

// run runs the program to its end, and answers what it printed and its exit status.
func (w *town) run(ctx context.Context, args ...string) (string, int) {
	w.t.Helper()
	cmd := exec.CommandContext(ctx, w.program, append(args, "--data", filepath.Join(w.dir, "tool"))...)
	cmd.Env = w.env
	out, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		w.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// house is one process, which can be killed and started again at the same address.
type house struct {
	town  *town
	name  string
	roles string
	port  int

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{}
	log   bytes.Buffer
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (w *town) build(name, roles string) *house {
	w.t.Helper()
	h := &house{town: w, name: name, roles: roles, port: freePort(w.t)}
	h.start()
	w.t.Cleanup(func() {
		h.kill()
		if w.t.Failed() {
			w.t.Logf("%s said:\n%s", h.name, h.said())
		}
	})
	return h
}

func (h *house) url() string { return fmt.Sprintf("http://127.0.0.1:%d", h.port) }

func (h *house) said() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	text := h.log.String()
	return text[max(0, len(text)-6000):]
}

// Write takes what the process says.
func (h *house) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log.Write(p)
}

// start starts the process and waits until it is ready.
func (h *house) start() {
	h.town.t.Helper()
	cmd := exec.Command(h.town.program, "serve", "--roles", h.roles, "--listen", fmt.Sprintf("127.0.0.1:%d", h.port), "--data", filepath.Join(h.town.dir, h.name))
	cmd.Env, cmd.Stderr = h.town.env, h
	out, err := cmd.StdoutPipe()
	if err != nil {
		h.town.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		h.town.t.Fatal(err)
	}
	ready, ended := make(chan struct{}), make(chan struct{})
	go func() {
		lines := bufio.NewScanner(out)
		for announced := false; lines.Scan(); {
			if !announced && strings.Contains(lines.Text(), "ready at") {
				announced = true
				close(ready)
			}
		}
		_ = cmd.Wait()
		close(ended)
	}()
	h.cmd, h.ended = cmd, ended
	select {
	case <-ready:
	case <-ended:
		h.town.t.Fatalf("%s did not start:\n%s", h.name, h.said())
	case <-time.After(2 * time.Minute):
		h.town.t.Fatalf("%s was not ready in time:\n%s", h.name, h.said())
	}
}

// kill ends the process at once.
func (h *house) kill() {
	_ = h.cmd.Process.Signal(syscall.SIGKILL)
	<-h.ended
}

// stop ends the process in order, and answers its exit status.
func (h *house) stop() int {
	_ = h.cmd.Process.Signal(syscall.SIGTERM)
	<-h.ended
	return h.cmd.ProcessState.ExitCode()
}

// load simulates households, and answers what waits for its end: the exit status and what was printed.
func (w *town) load(args ...string) func() (string, int) {
	wait, _ := w.loadUntil(args...)
	return wait
}

// loadUntil is load, and what ends it early: no more commands then, but all that were acknowledged are checked.
func (w *town) loadUntil(args ...string) (wait func() (string, int), enough func()) {
	ctx, stop := context.WithCancel(context.Background())
	w.t.Cleanup(stop) // a test that failed does not wait for it
	type end struct {
		text   string
		status int
	}
	ended := make(chan end, 1)
	cmd := exec.CommandContext(ctx, w.program, append(append([]string{"simulate"}, args...), "--data", filepath.Join(w.dir, "tool"))...)
	cmd.Env = w.env
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 5 * time.Minute // for the check
	go func() {
		out, err := cmd.CombinedOutput()
		status := -1
		if err == nil || cmd.ProcessState != nil {
			status = cmd.ProcessState.ExitCode()
		}
		ended <- end{string(out), status}
	}()
	return func() (string, int) {
		defer stop()
		select {
		case e := <-ended:
			return e.text, e.status
		case <-time.After(10 * time.Minute):
			stop()
			e := <-ended
			return e.text + "\n(it took too long)", -1
		}
	}, stop
}

func TestFiveProcessesAreKilledOneAfterTheOtherAndNothingIsLost(t *testing.T) {
	w := newTown(t, 1)
	commands := []*house{w.build("command-1", "command"), w.build("command-2", "command")}
	projectors := []*house{w.build("projector-1", "projector"), w.build("projector-2", "projector")}
	query := w.build("query-1", "query")
	journal := filepath.Join(w.dir, "journal")
	// It goes on until all were killed: a number of commands might be over before, as starting takes what it takes.
	finished, enough := w.loadUntil("--url", commands[0].url(), "--url", commands[1].url(), "--query-url", query.url(), "--households", "200", "--callers", "16",
		"--duration", "1h", "--patience", "60", "--journal", journal, "--prefix", "e-")
	for round := range 2 {
		for _, h := range []*house{commands[0], projectors[0], commands[1], query, projectors[1]} {
			grow(t, journal, 200)
			h.kill()
			if round == 1 {
				grow(t, journal, 50) // others have taken over
			}
			h.start()
		}
	}
	grow(t, journal, 200)
	enough()
	text, status := finished()
	if status != 0 {
		t.Fatalf("the load ended with status %d:\n%s", status, text)
	}
	t.Logf("the load:\n%s", text)
	for _, h := range append(append([]*house{query}, projectors...), commands...) {
		if status := h.stop(); status != 0 {
			t.Errorf("%s ended with status %d:\n%s", h.name, status, h.said())
		}
	}
	text, status = w.run(t.Context(), "verify", "--catch-up", "--journal", journal)
	if status != 0 {
		t.Fatalf("the audit ended with status %d:\n%s", status, text)
	}
	t.Logf("the audit:\n%s", text)
}

func TestAProcessWithoutWhatItDoesNotNeedDoesItsWork(t *testing.T) {
	w := newTown(t, 1)
	all := w.build("all", "command,projector,query")
	if text, status := w.load("--url", all.url(), "--commands", "300", "--households", "10", "--prefix", "a-")(); status != 0 {
		t.Fatalf("loading one process with all roles: %d\n%s", status, text)
	}
	all.stop()
	nowhere := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	good := w.env
	// Commands are taken without Kafka, Postgres and Elasticsearch.
	w.env = append(append([]string{}, good...), "CARRYON_KAFKA="+nowhere, "CARRYON_POSTGRES=postgres://nobody@"+nowhere+"/none?sslmode=disable", "CARRYON_ELASTICSEARCH=http://"+nowhere)
	command := w.build("command", "command")
	if text, status := w.load("--url", command.url(), "--commands", "300", "--households", "10", "--prefix", "b-", "--no-check")(); status != 0 {
		t.Fatalf("commands without brokers and read models: %d\n%s", status, text)
	}
	command.stop()
	// What is projected is answered without Cassandra.
	w.env = append(append([]string{}, good...), "CARRYON_CASSANDRA="+nowhere, "CARRYON_KAFKA="+nowhere)
	query := w.build("query", "query")
	token, status := w.run(t.Context(), "token", "--role", "operator")
	if status != 0 {
		t.Fatalf("a token: %s", token)
	}
	ask := func(path string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, query.url()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(body)
	}
	for _, path := range []string{"/v1/customers/a-00001/timeline", "/v1/customers/a-00001", "/v1/customers/a-00001/licenses", "/v1/events/search", "/v1/analytics/downloads"} {
		if status, body := ask(path); status != http.StatusOK {
			t.Errorf("%s without Cassandra: %d %.300s", path, status, body)
		}
	}
	if status, body := ask("/v1/customers/a-00001?consistency=authoritative"); status != http.StatusServiceUnavailable {
		t.Errorf("authoritative without Cassandra: %d %.300s", status, body)
	}
}

func TestEveryProcessTellsWhichVersionsItDecidesAndAnswersWith(t *testing.T) {
	w := newTown(t, 1)
	asked := w.build("command-and-query", "command,query")
	w.build("command", "command")
	w.build("projector", "projector")
	token, status := w.run(t.Context(), "token", "--role", "operator")
	if status != 0 {
		t.Fatalf("a token: %s", token)
	}
	call := func(method, path, body string, answer any) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, asked.url()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer got.Body.Close()
		raw, err := io.ReadAll(got.Body)
		if err == nil {
			err = json.Unmarshal(raw, answer)
		}
		if err != nil || got.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %d %.500s (%v)", method, path, got.StatusCode, raw, err)
		}
	}
	tell := func(policy int) {
		t.Helper()
		var told query.ListProcessesAnswer
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
			told = query.ListProcessesAnswer{} // what is left out is not left over
			call(http.MethodGet, "/v1/processes", "", &told)
			roles, same := map[string]bool{}, 0
			for _, p := range told.Processes {
				roles[strings.Join(p.Roles, ",")] = true
				if p.Policy == policy && p.DeviceTypes == 1 && p.Catalogue == told.Processes[0].Catalogue && p.Catalogue != "" && p.Program != "" && len(p.Apart) == 0 {
					same++
				}
			}
			if len(told.Processes) == 3 && same == 3 && roles["command,query"] && roles["command"] && roles["projector"] {
				return
			}
		}
		t.Fatalf("not all of three processes tell that they use policy %d: %+v", policy, told)
	}
	tell(1)
	var version struct {
		Document json.RawMessage `json:"document"`
	}
	call(http.MethodGet, "/v1/policies/default/versions/current", "", &version)
	var published json.RawMessage
	call(http.MethodPut, "/v1/policies/default?reason.code=other", string(version.Document), &published)
	tell(2)
	// The process that is asked applies nothing, and knows all the same how far the projector is.
	if text, status := w.load("--url", asked.url(), "--commands", "300", "--households", "10", "--prefix", "a-")(); status != 0 {
		t.Fatalf("loading: %d\n%s", status, text)
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		var told query.ListProjectionsAnswer
		call(http.MethodGet, "/v1/projections", "", &told)
		least, behind := uint64(math.MaxUint64), uint64(0)
		for _, m := range told.Projections {
			applied := uint64(0)
			for _, shard := range m.Shards {
				applied, behind = applied+shard.Applied, behind+shard.LagEntries
			}
			least = min(least, applied)
		}
		if len(told.Projections) == 6 && least > 0 && behind == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not every read model is shown at the tail: %+v", told)
		}
	}
}

func TestANodeOfTheRingIsKilledAndCommandsGoOn(t *testing.T) {
	run := filepath.Join(os.TempDir(), "carryon-ring-"+strconv.Itoa(os.Getpid()))
	const net3 = "127.0.9"
	ring := func(args ...string) {
		t.Helper()
		cmd := exec.Command("../../scripts/stack/cassandra/cassandra", args...)
		cmd.Env = append(os.Environ(), "STACK_RUN="+run, "CASSANDRA_NET="+net3, "CASSANDRA_JMX=7399", "CASSANDRA_SYNC=group")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("cassandra %v: %v\n%s", args, err, out)
		}
	}
	t.Cleanup(func() { ring("wipe") })
	ring("up", "3")
	t.Setenv("CARRYON_TEST_CASSANDRA", net3+".1:9042,"+net3+".2:9042,"+net3+".3:9042")
	w := newTown(t, 3)
	command := w.build("command", "command")
	w.build("projector", "projector")
	query := w.build("query", "query")
	journal := filepath.Join(w.dir, "journal")
	finished := w.load("--url", command.url(), "--query-url", query.url(), "--households", "60", "--callers", "16",
		"--commands", "700", "--patience", "60", "--journal", journal, "--prefix", "r-")
	grow(t, journal, 200)
	text, err := os.ReadFile(filepath.Join(run, "cassandra", "3", "node2", "pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	before := lines(t, journal)
	said, status := finished()
	if status != 0 {
		t.Fatalf("the load ended with status %d:\n%s", status, said)
	}
	if after := lines(t, journal); after < before+100 {
		t.Errorf("%d commands were acknowledged before the node was killed, %d in all: commands did not go on", before, after)
	}
	t.Logf("the load:\n%s", said)
	if text, status := w.run(t.Context(), "verify", "--catch-up", "--journal", journal); status != 0 {
		t.Fatalf("the audit, with a node away, ended with status %d:\n%s", status, text)
	}
}

// grow waits until a load has so many more commands acknowledged.
func grow(t testing.TB, journal string, by int) {
	t.Helper()
	wanted := lines(t, journal) + by
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for lines(t, journal) < wanted {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("of %d commands only %d were acknowledged within a minute", wanted, lines(t, journal))
		}
	}
}

func lines(t testing.TB, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return bytes.Count(text, []byte("\n"))
}
