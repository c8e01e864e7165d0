//go:build ring

package cassandra_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/cassandra"
	"carryon/infra/conformance"
)

const ringNet = "127.0.93"

func ringConfig() cassandra.Config {
	cfg := cassandra.Config{Keyspace: "carryon", Layout: cassandra.Layout{Shards: 2, LogBucket: 16, HistoryBucket: 8}}
	for node := range 3 {
		cfg.Hosts = append(cfg.Hosts, fmt.Sprintf("%s.%d:9042", ringNet, node+1))
	}
	return cfg
}

// crowd gives commands, each until it is answered, and remembers those that were.
type crowd struct {
	writers []*command.Writer

	mu       sync.Mutex
	answered map[string]domain.StreamID // by command id
	last     time.Time
	pause    time.Duration // the longest in which nothing was answered
}

func (c *crowd) once(ctx context.Context, caller, n int) {
	sub := command.Submission{
		Stream: domain.CustomerStream(fmt.Sprint("c-", caller)), RequestHash: "h", Decider: conformance.Add{Amount: 1},
		Meta: command.Meta{CommandID: uuid.Must(uuid.NewV7()).String(), Actor: domain.Actor{ID: "test", Role: domain.RoleService}},
	}
	for try := 0; ctx.Err() == nil; try++ {
		within, cancel := context.WithTimeout(ctx, 10*time.Second)
		_, err := c.writers[(caller+n+try)%len(c.writers)].Submit(within, sub)
		cancel()
		if err == nil {
			c.mu.Lock()
			c.answered[sub.Meta.CommandID] = sub.Stream
			c.pause = max(c.pause, time.Since(c.last))
			c.last = time.Now()
			c.mu.Unlock()
			return
		}
	}
}

// until waits for some more answers, and returns the longest pause among them.
func (c *crowd) until(t *testing.T, more int, when string) {
	t.Helper()
	c.mu.Lock()
	goal := len(c.answered) + more
	c.pause, c.last = 0, time.Now()
	c.mu.Unlock()
	begun := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		c.mu.Lock()
		n, pause := len(c.answered), c.pause
		c.mu.Unlock()
		if n >= goal {
			t.Logf("%s: %d commands in %s, the longest pause %s", when, more, time.Since(begun).Round(time.Millisecond), pause.Round(time.Millisecond))
			return
		}
		if time.Since(begun) > 3*time.Minute {
			t.Fatalf("%s: %d of %d commands were answered", when, n-goal+more, more)
		}
	}
}

// With three replicas one node may be killed at any time: commands go on, and what was answered is there, once.
func TestCommandsGoOnWhenANodeOfThreeIsKilled(t *testing.T) {
	r := startNodes(t, 3, ringNet, "9350")
	cfg := ringConfig()
	stores := []*cassandra.Store{open(t, cfg), open(t, cfg)}
	for _, a := range stores[0].Assumptions() {
		if !a.Holds {
			t.Errorf("%+v", a)
		}
	}
	c := &crowd{answered: make(map[string]domain.StreamID)}
	for i, s := range stores {
		c.writers = append(c.writers, startWriter(t, fmt.Sprint("writer-", i), s))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for caller := range 16 {
		callers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				c.once(ctx, caller, n)
			}
		})
	}
	defer callers.Wait()
	defer cancel()
	c.until(t, 300, "three nodes")
	for _, node := range []int{2, 1, 3} {
		r.kill(node)
		c.until(t, 300, fmt.Sprintf("node %d killed", node))
		r.up()
		c.until(t, 300, fmt.Sprintf("node %d back", node))
	}
	cancel()
	callers.Wait()
	audit(t, open(t, cfg), c.answered)
}

// audit reads everything, and compares it with what was answered, and the histories with the log.
func audit(t *testing.T, s *cassandra.Store, answered map[string]domain.StreamID) {
	t.Helper()
	found := make(map[string]int)
	streams := make(map[domain.StreamID][]domain.Event)
	for shard := range s.Layout().Shards + 1 {
		var all []domain.Entry
		for {
			page, err := s.Read(t.Context(), shard, uint64(len(all))+1, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			all = append(all, page...)
		}
		if err := s.Derive(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			for _, event := range e.Events {
				found[event.CommandID]++
				streams[event.Stream] = append(streams[event.Stream], event)
			}
		}
	}
	for id, stream := range answered {
		if found[id] != 1 {
			t.Errorf("command %s of %s was answered and is there %d times", id, stream, found[id])
		}
	}
	for stream, events := range streams {
		for i, e := range events {
			if e.Seq != uint64(i)+1 {
				t.Fatalf("event %d of %s is its %dth", e.Seq, stream, i+1)
			}
		}
		if got := streamOf(t, s, stream, 1<<20); len(got) != len(events) {
			t.Errorf("%s has %d events in the log and %d in its history", stream, len(events), len(got))
		}
	}
}
