package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite"

	"carryon/api/cli"
	"carryon/infra/profile"
)

// Scripts in testdata/script are what a user types, and what the program must answer. Each has a folder of its own, and
// the program is the real one. Beside testscript's own commands there are:
//
//	status N ARGS...            carryon ends with status N; stdout and stderr are what it wrote
//	serving ARGS...             starts carryon, waits until it prints its URL, and sets $URL and $PORT
//	stopped                     ends it by SIGTERM: status 0 within a deadline; its streams are what it wrote
//	get STATUS PATH [TOKEN]     asks $URL
//	put STATUS PATH TOKEN BODY  commands $URL; the Idempotency-Key is $KEY
//	sql FILE STATEMENT          changes a file behind the program's back
//	holds FILE N                waits until a file has N lines
//	take VARIABLE REGEXP [FILE] sets a variable to the first group found in the last stdout, or in a file
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"carryon": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		status := cli.Main(ctx, os.Args[1:], profile.Wiring(), cli.Streams{Out: os.Stdout, Err: os.Stderr})
		stop()
		os.Exit(status)
	}})
}

func TestTheProgramDoesWhatItsScriptsSay(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Values[serverKey{}] = &server{}
			env.Setenv("CARRYON_DATA", filepath.Join(env.WorkDir, "data"))
			env.Setenv("CARRYON_LISTEN", "127.0.0.1:0")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status, "serving": serving, "stopped": stopped, "get": get, "put": put, "sql": change, "holds": holds, "take": take,
		},
	})
}

func run(ts *testscript.TestScript, args []string) *exec.Cmd {
	var program string
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if path := filepath.Join(dir, "carryon"); exists(path) {
			program = path
			break
		}
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "GOCOVERDIR"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	for _, line := range strings.Fields("CARRYON_DATA CARRYON_LISTEN CARRYON_LOG_LEVEL CARRYON_MASTER_KEY CARRYON_SHARD_QUEUE CARRYON_CACHE_BYTES CARRYON_BOGUS") {
		if v := ts.Getenv(line); v != "" {
			cmd.Env = append(cmd.Env, line+"="+v)
		}
	}
	return cmd
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N args...")
	}
	cmd := run(ts, args[1:])
	cmd.Stdout, cmd.Stderr = ts.Stdout(), ts.Stderr()
	err := cmd.Run()
	if cmd.ProcessState == nil {
		ts.Fatalf("starting carryon: %v", err)
	}
	if got := cmd.ProcessState.String(); got != "exit status "+args[0] {
		ts.Fatalf("carryon %s: %s, wanted %s", strings.Join(args[1:], " "), got, args[0])
	}
}

type serverKey struct{}

// server is the carryon that serves in the background of a script.
type server struct {
	cmd  *exec.Cmd
	mu   sync.Mutex
	out  bytes.Buffer
	err  bytes.Buffer
	done chan error
}

func (s *server) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err.Write(p)
}

var urls = regexp.MustCompile(`http://[^ ]+:(\d+)`)

// patience is for a machine that does much else.
const patience = 90 * time.Second

func serving(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(serverKey{}).(*server)
	s.cmd = run(ts, args)
	s.cmd.Stderr = s
	stdout, err := s.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(s.cmd.Start())
	ready := make(chan []string, 1)
	s.done = make(chan error, 1)
	go func() { // ends with the program
		lines := bufio.NewReader(stdout)
		for {
			line, err := lines.ReadString('\n')
			s.mu.Lock()
			s.out.WriteString(line)
			s.mu.Unlock()
			if found := urls.FindStringSubmatch(line); found != nil {
				select {
				case ready <- found:
				default:
				}
			}
			if err != nil {
				s.done <- s.cmd.Wait()
				return
			}
			if strings.HasPrefix(line, "Stop with") {
				close(ready)
			}
		}
	}()
	program := s.cmd.Process
	ts.Defer(func() { _ = program.Kill() })
	select {
	case found := <-ready:
		ts.Setenv("URL", found[0])
		ts.Setenv("PORT", found[1])
		if args[0] == "demo" {
			for range ready { // until its last line
				continue
			}
			s.mu.Lock()
			_, _ = ts.Stdout().Write(s.out.Bytes())
			s.mu.Unlock()
		}
	case err := <-s.done:
		ts.Fatalf("it ended before it was ready: %v\n%s", err, s.err.String())
	case <-time.After(patience):
		ts.Fatalf("it was not ready in %s", patience)
	}
}

func stopped(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(serverKey{}).(*server)
	ts.Check(s.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-s.done:
		ts.Check(err)
		_, _ = ts.Stdout().Write(s.out.Bytes())
		_, _ = ts.Stderr().Write(s.err.Bytes())
		s.out.Reset()
		s.err.Reset()
	case <-time.After(patience):
		ts.Fatalf("it did not end in %s", patience)
	}
}

func get(ts *testscript.TestScript, neg bool, args []string) {
	token := ""
	if len(args) > 2 {
		token = args[2]
	}
	ask(ts, http.MethodGet, args[0], args[1], token, "")
}

func put(ts *testscript.TestScript, neg bool, args []string) {
	method := http.MethodPost
	if !strings.HasSuffix(args[1], "/licenses") {
		method = http.MethodPut
	}
	ask(ts, method, args[0], args[1], args[2], args[3])
}

func ask(ts *testscript.TestScript, method, status, path, token, body string) {
	url := path
	if !strings.HasPrefix(path, "http") {
		url = ts.Getenv("URL") + path
	}
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	ts.Check(err)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if key := ts.Getenv("KEY"); key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	ts.Check(err)
	defer answer.Body.Close()
	_, err = io.Copy(ts.Stdout(), answer.Body)
	ts.Check(err)
	if !strings.HasPrefix(answer.Status, status) {
		ts.Fatalf("%s %s: %s, wanted %s", method, path, answer.Status, status)
	}
}

func change(ts *testscript.TestScript, neg bool, args []string) {
	db, err := sql.Open("sqlite", "file:"+ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	result, err := db.Exec(args[1])
	ts.Check(err)
	if n, err := result.RowsAffected(); err != nil || n == 0 && strings.HasPrefix(args[1], "UPDATE") {
		ts.Fatalf("%s changed nothing: %v", args[1], err)
	}
}

func holds(ts *testscript.TestScript, neg bool, args []string) {
	wanted, err := strconv.Atoi(args[1])
	ts.Check(err)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		if path := ts.MkAbs(args[0]); exists(path) && strings.Count(ts.ReadFile(path), "\n") >= wanted {
			return
		} else if time.Now().After(deadline) {
			ts.Fatalf("%s does not have %d lines after a minute", args[0], wanted)
		}
	}
}

func take(ts *testscript.TestScript, neg bool, args []string) {
	from := "stdout"
	if len(args) > 2 {
		from = args[2]
	}
	found := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(ts.ReadFile(from))
	if found == nil {
		ts.Fatalf("%s is not in %s", args[1], from)
	}
	ts.Setenv(args[0], found[1])
}
