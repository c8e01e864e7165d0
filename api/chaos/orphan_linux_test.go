package chaos

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// checksIn makes this test the checker that another one kills, with its files in a folder.
const checksIn = "CARRYON_TEST_CHECKS_IN"

// What a checker that is killed has started ends with it, paused or not.
func TestProcessesEndWithACheckerThatIsKilled(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv(checksIn); dir != "" { // this is the checker
		check(t, dir)
	}
	checker := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	checker.Env = append(os.Environ(), checksIn+"="+t.TempDir())
	out, err := checker.StdoutPipe()
	if err == nil {
		err = checker.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for lines := bufio.NewScanner(out); len(pids) < 2 && lines.Scan(); {
		var pid int
		if _, err := fmt.Sscanf(lines.Text(), "started %d", &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	if err := checker.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = checker.Wait() // it was killed
	if len(pids) != 2 {
		t.Fatalf("it started %v", pids)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for _, pid := range pids {
		for runs(pid) {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				t.Fatalf("process %d goes on", pid)
			}
		}
	}
}

// runs tells whether there is such a process that is not dead already.
func runs(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// check starts two processes, pauses one, says which they are, and waits to be killed.
func check(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"runs", "paused"} {
		p := &Process{Name: name, program: "/bin/sleep", args: []string{"600"}, log: filepath.Join(dir, name)}
		if _, _, err := p.launch(0); err != nil {
			t.Fatal(err)
		}
		if name == "paused" {
			if err := p.signal(stopSignal); err != nil {
				t.Fatal(err)
			}
		}
		fmt.Fprintf(os.Stdout, "started %d\n", p.cmd.Process.Pid)
	}
	select {}
}
