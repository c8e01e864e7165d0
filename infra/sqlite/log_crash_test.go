package sqlite_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/sqlite"
)

// A test that needs a process of its own starts this program again, told by the environment what to play.
const roleVariable = "CARRYON_TEST_ROLE"

var roles = map[string]func(path string, out io.Writer) error{}

func TestMain(m *testing.M) {
	role, path, isRole := strings.Cut(os.Getenv(roleVariable), ":")
	if !isRole {
		goleak.VerifyTestMain(m)
		return
	}
	if err := roles[role](path, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0) // without closing anything
}

func start(t *testing.T, role, path string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+role+":"+path)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

func init() {
	roles["claimer"] = claimUntilKilled
}

// claimUntilKilled claims one entry after the other, in competition with others, and says which ones it was told are
// applied.
func claimUntilKilled(path string, out io.Writer) error {
	ctx := context.Background()
	s, err := sqlite.OpenLog(ctx, path, sqlite.LogConfig{})
	if err != nil {
		return err
	}
	for {
		head, err := s.Head(ctx, 1)
		if err != nil {
			return err
		}
		c := &chain{shard: 1, index: head.Index, id: head.ID, seqs: make(map[domain.StreamID]domain.Event), salt: fmt.Sprint(os.Getpid())}
		for i := range 3 {
			stream := domain.StreamID(fmt.Sprintf("customer/%d", i))
			c.seqs[stream] = domain.Event{Seq: head.Index, Position: domain.Position{Shard: 1, Index: head.Index, Place: i}}
		}
		e := noise(c.next("customer/0", "customer/1", "customer/2"), 2000)
		got, err := s.Claim(ctx, e)
		if err != nil {
			return err
		}
		if got.Applied {
			fmt.Fprintln(out, e.Index, e.ID)
		}
	}
}

func TestWhatWasAcknowledgedIsThereAfterKill9(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "carryon.db")
	openLog(t, path)
	var survivor *exec.Cmd
	acknowledged := map[uint64]string{}
	for round := range 6 {
		victim, said := start(t, "claimer", path)
		if round == 3 { // from here on beside another process, which goes on
			var others *bufio.Scanner
			survivor, others = start(t, "claimer", path)
			go func() { _, _ = io.Copy(io.Discard, scannerReader{others}) }() // ends with the process
		}
		for n := 0; n < 40+13*round && said.Scan(); n++ {
			note(t, acknowledged, said.Text())
		}
		if err := victim.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for said.Scan() { // what it had said before it died
			note(t, acknowledged, said.Text())
		}
		_ = victim.Wait() // killed
		verify(t, path, acknowledged)
	}
	if err := survivor.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = survivor.Wait() // killed
	verify(t, path, acknowledged)
}

// scannerReader drains a scanner.
type scannerReader struct{ *bufio.Scanner }

func (r scannerReader) Read(b []byte) (int, error) {
	if !r.Scan() {
		return 0, io.EOF
	}
	return copy(b, r.Bytes()), nil
}

func note(t *testing.T, acknowledged map[uint64]string, line string) {
	t.Helper()
	var index uint64
	var id string
	if n, err := fmt.Sscan(line, &index, &id); n != 2 || len(id) != 32 {
		return // cut off by the kill
	} else if err != nil {
		t.Fatal(err)
	}
	if other := acknowledged[index]; other != "" {
		t.Fatalf("entry %d was acknowledged as %s and as %s", index, other, id)
	}
	acknowledged[index] = id
}

// verify reads everything, log and histories, and compares it with what was acknowledged.
func verify(t *testing.T, path string, acknowledged map[uint64]string) {
	t.Helper()
	s, err := sqlite.OpenLog(t.Context(), path, sqlite.LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	head, err := s.Head(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	found := map[uint64]string{}
	for from := uint64(1); ; {
		page, err := s.Read(t.Context(), 1, from, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			found[e.Index] = e.ID.String()
			from = e.Index + 1
		}
	}
	for index, id := range acknowledged {
		if found[index] != id {
			t.Errorf("entry %d was acknowledged as %s, and is %q", index, id, found[index])
		}
	}
	for seq := uint64(1); seq <= head.Index; {
		page, err := s.ReadStream(t.Context(), "customer/1", seq, 1<<20)
		if err != nil || len(page) == 0 {
			t.Fatalf("history from %d of %d: %d events, %v", seq, head.Index, len(page), err)
		}
		seq += uint64(len(page))
	}
	if len(acknowledged) == 0 {
		t.Error("nothing was acknowledged")
	}
}

// A commit whose frames could not all be written, or not be synced, may have been written or not. Whatever the store
// says about it has to hold, also after a crash right then.
func TestAFailedCommitIsToldTruly(t *testing.T) {
	t.Parallel()
	if _, possible := roles["limited"]; !possible {
		t.Skip("this system can't limit the size of files")
	}
	for room := range 12 {
		t.Run(fmt.Sprint("room for ", room, " pages"), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "carryon.db")
			cmd, said := start(t, "limited", fmt.Sprintf("%d:%s", room*4096, path))
			var told string
			for said.Scan() {
				told = said.Text()
				t.Log(told)
			}
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
			s := openLog(t, path) // after a crash: nothing was closed
			head, err := s.Head(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			switch told {
			case "applied":
				if head.Index != 3 {
					t.Errorf("applied, and the head is %d", head.Index)
				}
			case "not written":
				if head.Index != 2 {
					t.Errorf("not written, and the head is %d", head.Index)
				}
			case "unknown":
			default:
				t.Errorf("told %q", told)
			}
			if _, err := s.Read(t.Context(), 1, 1, 1<<20); err != nil {
				t.Error(err)
			}
		})
	}
}

// claimWithLimit claims twice, and once more after the files can only grow so far; it says what it was told.
func claimWithLimit(path string, out io.Writer, limit func() error) error {
	ctx := context.Background()
	s, err := sqlite.OpenLog(ctx, path, sqlite.LogConfig{})
	if err != nil {
		return err
	}
	c := newChain(1)
	for range 2 {
		if _, err := s.Claim(ctx, noise(c.next("customer/a"), 6000)); err != nil {
			return err
		}
	}
	if err := limit(); err != nil {
		return err
	}
	got, err := s.Claim(ctx, noise(c.next("customer/a"), 12000))
	fmt.Fprintln(out, got.Applied, err)
	switch {
	case err == nil && got.Applied:
		fmt.Fprintln(out, "applied")
	case errors.Is(err, command.ErrUnknown):
		fmt.Fprintln(out, "unknown")
	case errors.Is(err, command.ErrStoreFull), errors.Is(err, command.ErrUnavailable):
		fmt.Fprintln(out, "not written")
	}
	return nil
}
