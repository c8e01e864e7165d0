package conformance

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// consumerSchedules runs random schedules of two instances on one log: entries with and without poison, messages lost,
// doubled and reordered, failures and crashes at every moment of a transaction, instances working in the middle of
// each other's transactions, retries before and after a fix. After each act the rows must be what the log up to the
// checkpoints says; in the end everything must have been applied.
//
// One goroutine does everything in the order that the seed gives, so a seed that fails fails again:
// go test -run 'Test.../random/seed=17$'. CARRYON_SEEDS=1-5000 tries more of them.
func consumerSchedules[T projector.Tx](t *testing.T, factory func(t testing.TB) ConsumerSubject[T]) {
	first, last := uint64(1), uint64(40)
	if seeds := os.Getenv("CARRYON_SEEDS"); seeds != "" {
		var err error
		if first, last, err = parseSeeds(seeds); err != nil {
			t.Fatal(err)
		}
	}
	for seed := first; seed <= last; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			newSchedule(newScene(t, factory(t)), seed).run()
		})
	}
}

func parseSeeds(seeds string) (first, last uint64, err error) {
	from, to, isRange := strings.Cut(seeds, "-")
	if !isRange {
		to = from
	}
	if first, err = strconv.ParseUint(from, 10, 64); err == nil {
		last, err = strconv.ParseUint(to, 10, 64)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("CARRYON_SEEDS=%q is neither a seed nor a range like 1-5000", seeds)
	}
	return first, last, nil
}

// schedule is one random run.
type schedule[T projector.Tx] struct {
	*scene[T]
	rand      *rand.Rand
	instances []*instance[T]
	messages  []*domain.Entry // published and perhaps not delivered
	trouble   float64         // how likely something goes wrong at a moment of a transaction
	within    bool            // one instance works within the other's transaction
	cut       bool            // something was given up while the store was at it
	acts      []string        // what was done, for a failure's report
}

func newSchedule[T projector.Tx](s *scene[T], seed uint64) *schedule[T] {
	r := &schedule[T]{scene: s, rand: rand.New(rand.NewPCG(seed, 0))}
	r.trouble = []float64{0, 0.02, 0.1, 0.3}[r.rand.IntN(4)]
	for range 2 {
		r.instances = append(r.instances, nil)
	}
	for i := range r.instances {
		r.restart(i)
	}
	return r
}

// restart puts a new process in an old one's place.
func (r *schedule[T]) restart(i int) {
	c := r.instance(projector.Config{
		MaxEvents: 1 + r.rand.IntN(30), PageBytes: 100 + r.rand.IntN(3000),
		WaitingEntries: 1 + r.rand.IntN(10), Tries: 1 + r.rand.IntN(3),
	})
	c.store.on(func(o op) error { return r.strike(i, o) })
	r.instances[i] = c
}

// strike is what happens at a moment of a transaction of an instance.
func (r *schedule[T]) strike(i int, o op) error {
	if r.rand.Float64() >= r.trouble {
		return nil
	}
	switch r.rand.IntN(4) {
	case 0:
		r.acts = append(r.acts, fmt.Sprintf("%d crashes at %s", i, o))
		return r.instances[i].store.crash()
	case 1:
		r.acts = append(r.acts, fmt.Sprintf("%d fails at %s", i, o))
		return fmt.Errorf("%w: %w", projector.ErrTransient, errFlaky)
	case 2:
		if r.within {
			return nil
		}
		r.within = true
		defer func() { r.within = false }()
		r.acts = append(r.acts, fmt.Sprintf("the other works while %d is at %s", i, o))
		ctx, cancel := contextFor(r.ctx)
		defer cancel()
		_, err := r.instances[1-i].Step(ctx, r.rand.IntN(2))
		r.cut = r.cut || errors.Is(err, context.DeadlineExceeded)
	default:
		r.acts = append(r.acts, fmt.Sprintf("an entry is claimed while %d is at %s", i, o))
		r.claim()
	}
	return nil
}

func (r *schedule[T]) run() {
	for range 150 {
		r.act()
		err := r.differences()
		for until := time.Now().Add(patience); err != nil && r.cut && time.Now().Before(until); {
			err = r.differences() // a commit that nobody waited for to its end may come between two questions
		}
		if err != nil {
			r.Fatalf("%v\nafter:\n%s", err, strings.Join(r.acts, "\n"))
		}
	}
	r.end()
}

func (r *schedule[T]) act() {
	i, shard := r.rand.IntN(2), r.rand.IntN(2)
	c := r.instances[i]
	if c.store.isCrashed() {
		r.acts = append(r.acts, fmt.Sprintf("%d restarts", i))
		r.restart(i)
		return
	}
	switch what := r.rand.IntN(20); {
	case what < 5:
		r.claim()
	case what < 9:
		r.deliver(c)
	case what < 15:
		outcome, err := c.Step(r.ctx, shard)
		r.acts = append(r.acts, fmt.Sprintf("%d steps in shard %d: %v, %v", i, shard, outcome, err))
	case what < 17:
		outcome, err := c.Look(r.ctx, shard)
		r.acts = append(r.acts, fmt.Sprintf("%d looks at shard %d: %v, %v", i, shard, outcome, err))
	case what == 17:
		c.Hint(shard, r.log.tail(shard)+uint64(r.rand.IntN(3)))
	case what == 18:
		r.log.derive(shard, r.log.tail(shard)-min(uint64(r.rand.IntN(6)), r.log.tail(shard)))
	default:
		r.retry(i, c)
	}
}

// claim appends an entry, and publishes it, or not, or twice.
func (r *schedule[T]) claim() {
	shard := r.rand.IntN(2)
	var lines []line
	for range r.rand.IntN(6) {
		kind := kindCounted
		if r.rand.IntN(25) == 0 {
			kind = []string{kindPoison, kindPlain, kindPanic}[r.rand.IntN(3)]
		}
		lines = append(lines, line{string(rune('a' + r.rand.IntN(8))), kind})
	}
	e := r.log.claim(shard, lines...)
	r.log.derive(shard, e.Index-min(uint64(r.rand.IntN(3)), e.Index))
	for range r.rand.IntN(3) {
		r.messages = append(r.messages, e)
	}
	r.acts = append(r.acts, fmt.Sprintf("entry %d of shard %d is claimed: %v", e.Index, shard, lines))
}

// deliver brings any of the messages, which stays deliverable at times.
func (r *schedule[T]) deliver(c *instance[T]) {
	if len(r.messages) == 0 {
		return
	}
	n := r.rand.IntN(len(r.messages))
	c.Offer(r.messages[n])
	if r.rand.IntN(4) > 0 {
		r.messages = slices.Delete(r.messages, n, n+1)
	}
}

func (r *schedule[T]) retry(i int, c *instance[T]) {
	parked, err := r.subject.Store.Parked(r.ctx, "", 100)
	if err != nil {
		r.Fatal(err)
	}
	if len(parked) == 0 {
		return
	}
	kind := []string{kindPoison, kindPlain, kindPanic}[r.rand.IntN(3)]
	r.fixed[kind] = r.rand.IntN(2) == 0
	ctx, cancel := contextFor(r.ctx)
	defer cancel()
	stream := parked[r.rand.IntN(len(parked))].Stream
	err = c.RetryParked(ctx, stream)
	r.cut = r.cut || errors.Is(err, context.DeadlineExceeded)
	r.acts = append(r.acts, fmt.Sprintf("%d retries %s, fixed %v: %v", i, stream, r.fixed, err))
}

// end lets everything go well, and checks that everything is applied.
func (r *schedule[T]) end() {
	r.trouble = 0
	for _, kind := range []string{kindPoison, kindPlain, kindPanic} {
		r.fixed[kind] = true
	}
	r.restart(0)
	r.settle(r.instances[0])
	for _, status := range r.instances[0].Status() {
		if status.Differs {
			r.Fatalf("history is said to differ: %s\nafter:\n%s", status.Err, strings.Join(r.acts, "\n"))
		}
	}
	parked, err := r.parked()
	if err != nil {
		r.Fatal(err)
	}
	for stream := range parked {
		if err := r.instances[0].RetryParked(r.ctx, stream); err != nil {
			r.Fatalf("retrying %s: %v\nafter:\n%s", stream, err, strings.Join(r.acts, "\n"))
		}
	}
	r.checkAtTail()
	r.checkParked(map[domain.StreamID]uint64{})
}
