package simulate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"carryon/domain"
)

// Options of a run.
type Options struct {
	Seed       uint64
	Households int
	Prefix     string // of the households' ids, so that runs against one Carryon do not meet
	Callers    int    // operations at once
	Commands   int64  // stop after this many; 0: until the context ends or Duration has passed
	Duration   time.Duration
	Rate       float64       // commands a second; 0: as fast as answers come
	BurstEvery time.Duration // every so often Rate is multiplied by Burst for a second; 0: never
	Burst      float64
	Repeats    float64       // share of commands that are sent again with the same key, as impatient clients do
	Patience   int           // how often an unknown or busy command is tried again
	KeysBehind time.Duration // by how much the times in the keys lag behind our clock, for servers whose clocks do
	Titles     Titles
	Lookup     func(string) (domain.Title, bool)
	Journal    Journal
	Progress   func(done int64) // called now and then
}

// Journal is told what was acknowledged, before the next command of the household is sent.
type Journal interface {
	Acknowledged(op Op, a Answer) error
}

// Report is what came of a run.
type Report struct {
	Seed     uint64
	Elapsed  time.Duration
	Sent     int64 // commands, without repeats
	Kinds    map[Kind]*KindReport
	Refusals map[string]int64
	Problems map[string]int64  // requests that did not fit or were never answered, by code
	Repeats  int64             // sent again on purpose
	Differ   []string          // repeats that were answered differently: must be empty
	Unknowns int64             // commands given up without an answer
	Latest   map[string]uint64 // by customer: the newest acknowledged version
}

// KindReport is the part of one kind of operation.
type KindReport struct {
	Accepted, Refused, Other int64
	Latency                  Histogram
}

// recorder gathers the report of concurrent callers.
type recorder struct {
	mu     sync.Mutex
	report Report
}

func newRecorder(seed uint64) *recorder {
	r := &recorder{report: Report{Seed: seed, Kinds: map[Kind]*KindReport{}, Refusals: map[string]int64{}, Problems: map[string]int64{}, Latest: map[string]uint64{}}}
	for _, k := range Kinds() {
		r.report.Kinds[k] = &KindReport{}
	}
	return r
}

func (r *recorder) record(op Op, a Answer, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.report.Kinds[op.Kind]
	k.Latency.Add(took)
	r.report.Sent++
	switch a.Outcome {
	case Accepted:
		k.Accepted++
	case Refused:
		k.Refused++
		r.report.Refusals[a.Code]++
	case Unknown:
		k.Other++
		r.report.Unknowns++
		r.report.Problems["no answer"]++
	case Rejected, Busy:
		k.Other++
		r.report.Problems[a.Code]++
	}
	if a.Version > r.report.Latest[op.Customer] {
		r.report.Latest[op.Customer] = a.Version
	}
}

func (r *recorder) repeated(difference string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Repeats++
	if difference != "" && len(r.report.Differ) < 20 {
		r.report.Differ = append(r.report.Differ, difference)
	}
}

// caller sends operations the way a patient client does.
type caller struct {
	target  Target
	options *Options
	rec     *recorder
	random  *rand.Rand
}

// perform sends one operation, again with the same key while it is not known what came of it.
func (c *caller) perform(ctx context.Context, op Op) (Answer, error) {
	begin := time.Now()
	a := c.target.Do(ctx, op)
	for attempt := 0; (a.Outcome == Unknown || a.Outcome == Busy) && attempt < c.options.Patience && ctx.Err() == nil; attempt++ {
		wait := time.Duration(50<<min(attempt, 5)) * time.Millisecond
		if !pause(ctx, wait/2+time.Duration(c.random.Int64N(int64(wait)))) {
			break
		}
		a = c.target.Do(ctx, op)
	}
	if ctx.Err() != nil && a.Outcome == Unknown {
		return a, ctx.Err()
	}
	c.rec.record(op, a, time.Since(begin))
	if a.Outcome == Accepted || a.Outcome == Refused {
		if c.options.Journal != nil {
			if err := c.options.Journal.Acknowledged(op, a); err != nil {
				return a, fmt.Errorf("journal: %w", err)
			}
		}
	}
	if a.Outcome == Accepted && c.options.Repeats > 0 && c.random.Float64() < c.options.Repeats {
		again := c.target.Do(ctx, op)
		if again.Outcome != Unknown && again.Outcome != Busy {
			c.rec.repeated(compare(op, a, again))
		}
	}
	return a, nil
}

// compare says in what the answer to a repeated command differs from the first. Commands that are idempotent by state
// and changed nothing have no recorded answer: only those that wrote (they have a position) must repeat theirs.
func compare(op Op, first, again Answer) string {
	if first.Position == "" || op.Kind == Evaluate {
		return ""
	}
	if first.Outcome != again.Outcome || first.Version != again.Version || first.Position != again.Position || first.LicenseID != again.LicenseID {
		return fmt.Sprintf("%s %s of %s: first %+v, then %+v", op.Kind, op.Key, op.Customer, first, again)
	}
	return ""
}

// Run sends commands of many households at once, paced, until enough were sent, the time is over or ctx ends.
func Run(ctx context.Context, target Target, options Options) (*Report, error) {
	if options.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, options.Duration)
		defer cancel()
	}
	rec := newRecorder(options.Seed)
	homes := make(chan *Household, options.Households)
	for i := range options.Households {
		h := NewHousehold(options.Seed, i, options.Prefix)
		h.keysBehind = options.KeysBehind
		homes <- h
	}
	tokens := paceMaker(ctx, options)
	begin := time.Now()
	var sent atomic.Int64
	var failed atomic.Pointer[error]
	var callers sync.WaitGroup
	for n := range options.Callers {
		c := &caller{target: target, options: &options, rec: rec, random: rand.New(rand.NewPCG(options.Seed, 1<<40+uint64(n)))} //nolint:gosec // pretended people
		callers.Go(func() {
			for ctx.Err() == nil {
				if done := sent.Add(1); options.Commands > 0 && done > options.Commands {
					return
				} else if options.Progress != nil && done%64 == 0 {
					options.Progress(done)
				}
				if tokens != nil {
					select {
					case <-tokens:
					case <-ctx.Done():
						return
					}
				}
				select { // a household does one thing after the other
				case h := <-homes:
					err := c.turn(ctx, h, time.Now)
					homes <- h
					if err != nil && !errors.Is(err, ctx.Err()) {
						failed.CompareAndSwap(nil, &err)
						return
					}
				case <-ctx.Done():
					return
				}
			}
		})
	}
	callers.Wait()
	rec.report.Elapsed = time.Since(begin)
	if err := failed.Load(); err != nil {
		return &rec.report, *err
	}
	return &rec.report, nil
}

// turn lets a household do one thing.
func (c *caller) turn(ctx context.Context, h *Household, now func() time.Time) error {
	at := now().UTC()
	op, asked := h.AskSupport(at)
	if !asked {
		op = h.Next(at, c.options.Titles)
	}
	a, err := c.perform(ctx, op)
	if err != nil {
		return err
	}
	h.Learn(op, a, now().UTC(), c.options.Lookup)
	return nil
}

// paceMaker hands out the right to send, Rate times a second, more in a burst. A nil channel: no pace.
func paceMaker(ctx context.Context, options Options) <-chan struct{} {
	if options.Rate <= 0 {
		return nil
	}
	tokens := make(chan struct{}, options.Callers)
	go func() { // ends with ctx, which Run's caller or its Duration ends
		const tick = 5 * time.Millisecond
		ticker := time.NewTicker(tick)
		defer ticker.Stop()
		var owed float64
		begin := time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-ticker.C:
				rate := options.Rate
				if options.BurstEvery > 0 && now.Sub(begin)%options.BurstEvery < time.Second {
					rate *= options.Burst
				}
				for owed += rate * tick.Seconds(); owed >= 1; owed-- {
					select {
					case tokens <- struct{}{}:
					default: // behind: the callers are all busy
					}
				}
			}
		}
	}()
	return tokens
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
