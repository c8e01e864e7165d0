package chaos_test

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"carryon/api/chaos"
)

// echo answers every line with itself, and tells which lines it has read.
func echo(t *testing.T) (address string, read <-chan string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	lines := make(chan string, 100)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for in := bufio.NewScanner(conn); in.Scan(); {
					lines <- in.Text()
					_, _ = io.WriteString(conn, in.Text()+"\n")
				}
			}()
		}
	}()
	return listener.Addr().String(), lines
}

func dial(t *testing.T, p *chaos.Proxy) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func say(t *testing.T, conn net.Conn, line string) {
	t.Helper()
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

// hear is the answer, or what comes instead of one.
func hear(conn net.Conn, within time.Duration) (string, error) {
	_ = conn.SetReadDeadline(time.Now().Add(within))
	return bufio.NewReader(conn).ReadString('\n')
}

const (
	surely = 30 * time.Second      // for what must come
	notYet = 50 * time.Millisecond // for what must not
)

func newProxy(t *testing.T) (*chaos.Proxy, <-chan string) {
	t.Helper()
	address, read := echo(t)
	p, err := chaos.NewProxy("127.0.0.1:0", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p, read
}

func mustHear(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	if got, err := hear(conn, surely); err != nil || got != want+"\n" {
		t.Fatalf("heard %q, %v; wanted %q", got, err, want)
	}
}

// heardNothing listens until the proxy has swallowed something of the one connection through it, and a moment longer.
func heardNothing(t *testing.T, conn net.Conn, p *chaos.Proxy) {
	t.Helper()
	for deadline := time.Now().Add(surely); ; {
		torn := chaos.Torn(p)
		if got, err := hear(conn, notYet); err == nil {
			t.Errorf("heard %q", got)
		}
		if torn {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing was swallowed")
		}
	}
}

func TestAProxyPassesAndDelays(t *testing.T) {
	t.Parallel()
	p, _ := newProxy(t)
	conn := dial(t, p)
	say(t, conn, "a")
	mustHear(t, conn, "a")
	const delay = 40 * time.Millisecond
	p.Set(chaos.Slow, delay)
	began := time.Now()
	say(t, conn, "b")
	mustHear(t, conn, "b")
	if took := time.Since(began); took < 2*delay {
		t.Errorf("there and back took %s, wanted twice %s at least", took, delay)
	}
}

func TestACutClosesWhatIsOpenAndRefusesWhatComes(t *testing.T) {
	t.Parallel()
	p, _ := newProxy(t)
	conn := dial(t, p)
	say(t, conn, "a")
	mustHear(t, conn, "a")
	p.Set(chaos.Cut, 0)
	if got, err := hear(conn, surely); err == nil {
		t.Errorf("heard %q through a cut", got)
	}
	if got, err := hear(dial(t, p), surely); err == nil {
		t.Errorf("heard %q through a cut", got)
	}
	p.Set(chaos.Pass, 0)
	conn = dial(t, p)
	say(t, conn, "b")
	mustHear(t, conn, "b")
}

func TestAHalfOpenConnectionSwallowsAndIsClosedWhenMended(t *testing.T) {
	t.Parallel()
	p, read := newProxy(t)
	conn := dial(t, p)
	say(t, conn, "a")
	mustHear(t, conn, "a")
	<-read
	p.Set(chaos.HalfOpen, 0)
	say(t, conn, "b")
	heardNothing(t, conn, p)
	p.Set(chaos.Pass, 0)
	if got, err := hear(conn, surely); err == nil {
		t.Errorf("heard %q on a connection that had lost something", got)
	}
	select {
	case line := <-read:
		t.Errorf("%q was swallowed, and read", line)
	default:
	}
}

func TestALostAnswerWasAskedForAndDone(t *testing.T) {
	t.Parallel()
	p, read := newProxy(t)
	conn := dial(t, p)
	p.Set(chaos.LoseAnswers, 0)
	for _, line := range []string{"a", "b"} {
		say(t, conn, line)
		select {
		case got := <-read:
			if got != line {
				t.Errorf("%q was read, wanted %q", got, line)
			}
		case <-time.After(surely):
			t.Fatal("what was asked did not pass")
		}
		heardNothing(t, conn, p)
	}
	p.Set(chaos.Pass, 0)
	if got, err := hear(conn, surely); err == nil {
		t.Errorf("heard %q on a connection that had lost an answer", got)
	}
}
