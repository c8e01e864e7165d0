package cassandra

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// pipe is a dialler whose connections lead to a server that the test plays.
type pipe struct{ server chan net.Conn }

func (p pipe) DialContext(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	p.server <- there
	return here, nil
}

func TestAConnectionThatAnswersNothingIsCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := pipe{make(chan net.Conn, 1)}
		conn, err := watchful{p, time.Second}.DialContext(t.Context(), "tcp", "x")
		if err != nil {
			t.Fatal(err)
		}
		server := <-p.server
		go func() { // takes everything, answers the first two
			buffer := make([]byte, 10)
			for i := 0; ; i++ {
				if _, err := server.Read(buffer); err != nil {
					return
				}
				if i < 2 {
					_, _ = server.Write([]byte("answer"))
				}
			}
		}()
		buffer := make([]byte, 10)
		for range 2 {
			time.Sleep(time.Minute) //nolint:forbidigo // of the bubble: nothing is expected meanwhile, so nothing is missed
			if _, err := conn.Write([]byte("ask")); err != nil {
				t.Fatal(err)
			}
			_ = conn.SetReadDeadline(time.Time{})
			if n, err := conn.Read(buffer); err != nil || string(buffer[:n]) != "answer" {
				t.Fatalf("%q, %v", buffer[:n], err)
			}
		}
		begun := time.Now()
		_, _ = conn.Write([]byte("ask"))
		_ = conn.SetReadDeadline(time.Time{})
		if _, err := conn.Read(buffer); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != time.Second {
			t.Fatalf("%v after %s", err, time.Since(begun))
		}
		_, _ = conn.Close(), server.Close()
		synctest.Wait()
	})
}
