//go:build real

package cassandra_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/cassandra"
	"carryon/infra/conformance"
)

// between stands between the driver and the server, and spoils what it is told to.
type between struct {
	mu    sync.Mutex
	armed fault
	met   int // faults that happened
}

type fault int

const (
	none       fault = iota
	cutBefore        // the connection breaks before the request is sent
	cutAfter         // the connection breaks when the answer is there
	loseAnswer       // the answer never comes
)

func (b *between) arm(f fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.armed = f
}

// take is the armed fault, if there is one: it happens once.
func (b *between) take() fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.armed
	if b.armed = none; f != none {
		b.met++
	}
	return f
}

func (b *between) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &spoiled{Conn: conn, between: b}, nil
}

// spoiled is a connection. The driver writes one frame at a time, because it does not gather.
type spoiled struct {
	net.Conn
	between *between

	mu    sync.Mutex
	fault fault
}

const batchFrame = 0x0d

func (c *spoiled) Write(frame []byte) (int, error) {
	if len(frame) > 4 && frame[4] == batchFrame {
		switch f := c.between.take(); f {
		case cutBefore:
			c.Close()
			return 0, errors.New("cut before the request")
		case cutAfter, loseAnswer:
			c.mu.Lock()
			c.fault = f
			c.mu.Unlock()
		}
	}
	return c.Conn.Write(frame)
}

// Read gets the answer off the line, and loses it.
func (c *spoiled) Read(into []byte) (int, error) {
	for {
		n, err := c.Conn.Read(into)
		c.mu.Lock()
		f := c.fault
		c.mu.Unlock()
		switch {
		case f == cutAfter:
			c.Close()
			return 0, errors.New("cut before the answer")
		case f == none, err != nil:
			return n, err
		}
	}
}

// untilThere waits until a claim that was sent is in the log.
func untilThere(t *testing.T, s *cassandra.Store, e *domain.Entry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		head, err := s.Head(ctx, e.Shard)
		if err != nil {
			t.Fatal(err)
		}
		if head.ID == e.ID {
			return
		}
	}
}

func TestAClaimWhoseAnswerIsLostIsUnknownAndRecognisedWhenItIsRepeated(t *testing.T) {
	t.Parallel()
	for _, bucket := range []int{1, 2, 256} {
		t.Run(fmt.Sprintf("%d an entry bucket", bucket), func(t *testing.T) {
			t.Parallel()
			cfg := newKeyspace(t)
			cfg.Layout.LogBucket = bucket
			other, shard := open(t, cfg), 0
			for _, f := range []fault{cutAfter, loseAnswer} {
				for _, later := range []int{0, 1, 5} {
					lostAnswer(t, cfg, other, shard, f, later)
					shard++
				}
			}
		})
	}
}

func lostAnswer(t *testing.T, cfg cassandra.Config, other *cassandra.Store, shard int, f fault, later int) {
	t.Helper()
	b := &between{}
	s, c := open(t, cfg.Through(b, 2*time.Second)), newChain(shard)
	claim(t, s, c.next("customer/a"))
	e := c.next("customer/a", "customer/b")
	b.arm(f)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if got, err := s.Claim(ctx, e); !errors.Is(err, command.ErrUnknown) {
		t.Fatalf("%+v, %v; want ErrUnknown", got, err)
	}
	untilThere(t, other, e)
	for range later {
		claim(t, other, c.next("customer/c"))
	}
	for _, store := range []*cassandra.Store{other, s} {
		eventually(t, func() (bool, error) {
			got, err := store.Claim(t.Context(), e)
			return err == nil && got.Applied, err
		})
	}
	wantLog(t, other, c)
}

func TestAClaimThatNeverReachedTheServerIsClaimedByRepeatingIt(t *testing.T) {
	t.Parallel()
	cfg := newKeyspace(t)
	b := &between{}
	s, other, c := open(t, cfg.Through(b, 2*time.Second)), open(t, cfg), newChain(1)
	claim(t, s, c.next("customer/a"))
	e := c.next("customer/a")
	b.arm(cutBefore)
	if got, err := s.Claim(t.Context(), e); err == nil {
		t.Fatalf("%+v; want an error", got)
	}
	if head, err := other.Head(t.Context(), 1); err != nil || head.Index != 1 {
		t.Fatalf("%+v, %v", head, err)
	}
	eventually(t, func() (bool, error) {
		got, err := s.Claim(t.Context(), e)
		return err == nil && got.Applied, err
	})
	wantLog(t, other, c)
}

func TestAClaimWhoseAnswerIsLostAndThatAnotherTookIsTaken(t *testing.T) {
	t.Parallel()
	cfg := newKeyspace(t)
	b := &between{}
	s, other := open(t, cfg.Through(b, 2*time.Second)), open(t, cfg)
	mine, theirs := newChain(1), newChain(1)
	theirs.salt = "theirs"
	first := theirs.next("customer/a")
	claim(t, other, first)
	e := mine.next("customer/b")
	b.arm(cutAfter)
	if got, err := s.Claim(t.Context(), e); !errors.Is(err, command.ErrUnknown) {
		t.Fatalf("%+v, %v; want ErrUnknown", got, err)
	}
	eventually(t, func() (bool, error) {
		got, err := s.Claim(t.Context(), e)
		if err == nil && (got.Applied || got.Head.ID != first.ID) {
			t.Fatalf("%+v", got)
		}
		return err == nil, err
	})
}

func TestAClaimWhoseCallerHasGoneIsNotSent(t *testing.T) {
	t.Parallel()
	s, c := open(t, newKeyspace(t)), newChain(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Claim(ctx, c.next("customer/a")); !errors.Is(err, command.ErrUnavailable) || errors.Is(err, command.ErrUnknown) {
		t.Fatal(err)
	}
	if head, err := s.Head(t.Context(), 1); err != nil || head.Index != 0 {
		t.Fatalf("%+v, %v", head, err)
	}
}

func TestAClosedStoreSaysSo(t *testing.T) {
	t.Parallel()
	s, c := open(t, newKeyspace(t)), newChain(1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, claimErr := s.Claim(t.Context(), c.next("customer/a"))
	_, headErr := s.Head(t.Context(), 1)
	_, readErr := s.ReadStream(t.Context(), "customer/a", 1, 1<<20)
	for i, err := range []error{claimErr, headErr, readErr} {
		if !errors.Is(err, command.ErrClosed) || errors.Is(err, command.ErrUnknown) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func TestAnEntryThatIsTooLargeIsRefusedBeforeItIsSent(t *testing.T) {
	t.Parallel()
	s, c := open(t, newKeyspace(t)), newChain(1)
	e := c.next("customer/a")
	for place := range 20 {
		event := e.Events[0]
		event.Seq, event.Position.Place, event.Payload = uint64(place)+1, place, noise(700<<10)
		e.Events = append(e.Events[:place], event)
	}
	if _, err := s.Claim(t.Context(), e); !errors.Is(err, command.ErrTooLarge) {
		t.Fatal(err)
	}
	if _, err := s.Claim(t.Context(), newChain(1).next("customer/a")); err != nil {
		t.Fatal(err)
	}
}

// The writers of two processes, one of which loses answers all the time, keep the promise of the whole.
func TestCommandsSurviveLostAnswers(t *testing.T) {
	t.Parallel()
	cfg := newKeyspace(t)
	cfg.Layout = cassandra.Layout{Shards: 1, LogBucket: 3, HistoryBucket: 4}
	b := &between{}
	good, bad := open(t, cfg), open(t, cfg.Through(b, 2*time.Second))
	ctx, cancel := context.WithCancel(t.Context())
	var spoiler sync.WaitGroup
	defer spoiler.Wait()
	defer cancel()
	spoiler.Go(func() {
		tick := time.NewTicker(300 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-tick.C:
				b.arm([]fault{cutAfter, cutBefore}[i%2])
			case <-ctx.Done():
				return
			}
		}
	})
	writers := []*command.Writer{startWriter(t, "good", good), startWriter(t, "bad", bad)}
	var all sync.WaitGroup
	const streams, commands = 6, 25
	for i := range streams {
		all.Go(func() {
			for n := range commands {
				id := uuid.Must(uuid.NewV7()).String()
				sub := command.Submission{
					Stream: domain.CustomerStream(fmt.Sprint("c-", i)), RequestHash: "h", Decider: conformance.Add{Amount: 1},
					Meta: command.Meta{CommandID: id},
				}
				eventually(t, func() (bool, error) {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					defer cancel()
					_, err := writers[(i+n)%2].Submit(ctx, sub)
					return err == nil, err
				})
			}
		})
	}
	all.Wait()
	events := make(map[domain.StreamID]uint64)
	from := uint64(1)
	for {
		page, err := good.Read(t.Context(), 1, from, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			for i := range e.Events {
				if events[e.Events[i].Stream]++; e.Events[i].Seq != events[e.Events[i].Stream] {
					t.Fatalf("event %d of %s comes as its %dth", e.Events[i].Seq, e.Events[i].Stream, events[e.Events[i].Stream])
				}
			}
		}
		from += uint64(len(page))
	}
	for stream, n := range events {
		if n != commands {
			t.Errorf("%s has %d events, want %d", stream, n, commands)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.met < 3 {
		t.Errorf("%d faults only: this tested nothing", b.met)
	}
	if len(events) != streams {
		t.Errorf("%d streams, want %d", len(events), streams)
	}
}
