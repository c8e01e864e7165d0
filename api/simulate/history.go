package simulate

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// HistoryOptions are those of a history that is made up, in pretended time.
type HistoryOptions struct {
	Options
	From, To time.Time
	Events   int64           // about how many events are wanted; Written tells how many there are
	Written  func() int64    // events recorded so far
	SetClock func(time.Time) // moves the clock that the handlers read; never backwards
}

// History makes households live from From to To, session by session in the order of time. Sessions of one slice of
// time run at once, so that the handlers are driven as in real life; the clock moves between slices.
func History(ctx context.Context, target Target, o HistoryOptions) (*Report, error) {
	rec := newRecorder(o.Seed)
	random := rand.New(rand.NewPCG(o.Seed, 1<<50)) //nolint:gosec // pretended people
	span := o.To.Sub(o.From)
	const perSession, eventsPerCommand = 4.0, 1.75 // measured on this generator; only the pace depends on them
	gap := time.Duration(float64(span) * float64(o.Households) * perSession * eventsPerCommand / float64(o.Events))
	queue := make(sessions, 0, o.Households)
	for i := range o.Households {
		join := o.From.Add(time.Duration(random.Float64() * 0.7 * float64(span)))
		if i < o.Households/10 {
			join = o.From.Add(time.Duration(random.Float64() * 0.05 * float64(span)))
		}
		queue = append(queue, session{at: join, home: NewHousehold(o.Seed, i, o.Prefix)})
	}
	heap.Init(&queue)
	begin := time.Now()
	for len(queue) > 0 && queue[0].at.Before(o.To) && ctx.Err() == nil {
		slice := []session{}
		for len(queue) > 0 && len(slice) < 4*o.Callers && queue[0].at.Before(o.To) {
			slice = append(slice, heap.Pop(&queue).(session)) //nolint:forcetypeassert // the heap holds nothing else
		}
		o.SetClock(slice[0].at)
		if err := liveThrough(ctx, target, &o, rec, slice); err != nil {
			return &rec.report, err
		}
		if o.Progress != nil {
			o.Progress(o.Written())
		}
		// Those who live faster than the wanted number of events allows are slowed down, and the reverse.
		lived := float64(slice[0].at.Sub(o.From)) / float64(span)
		pace := 1.0
		if lived > 0.1 {
			joined := 0.55 // of the events lie in the part of the span in which not everybody has joined
			want := float64(o.Events) * (lived*(1-joined) + lived*lived*joined)
			pace = min(4, max(0.25, float64(o.Written())/max(1, want)))
		}
		for _, s := range slice {
			rest := time.Duration((0.2 + 1.6*random.Float64()) * float64(gap) * 0.5 * pace / s.home.eager)
			heap.Push(&queue, session{at: s.at.Add(rest), home: s.home})
		}
	}
	rec.report.Elapsed = time.Since(begin)
	return &rec.report, ctx.Err()
}

// liveThrough runs the sessions of one slice of time.
func liveThrough(ctx context.Context, target Target, o *HistoryOptions, rec *recorder, slice []session) error {
	var next atomic.Int64
	var first atomic.Pointer[error]
	var callers sync.WaitGroup
	for n := range min(o.Callers, len(slice)) {
		c := &caller{target: target, options: &o.Options, rec: rec, random: rand.New(rand.NewPCG(o.Seed, uint64(slice[0].at.UnixNano())+uint64(n)))} //nolint:gosec // pretended people
		callers.Go(func() {
			for ctx.Err() == nil && first.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(slice) {
					return
				}
				now := func() time.Time { return slice[0].at }
				for range 2 + c.random.IntN(5) {
					if err := c.turn(ctx, slice[i].home, now); err != nil {
						first.CompareAndSwap(nil, &err)
						return
					}
				}
			}
		})
	}
	callers.Wait()
	if err := first.Load(); err != nil {
		return *err
	}
	return nil
}

// session is when a household turns up next.
type session struct {
	at   time.Time
	home *Household
}

type sessions []session

func (s sessions) Len() int           { return len(s) }
func (s sessions) Less(i, j int) bool { return s[i].at.Before(s[j].at) }
func (s sessions) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *sessions) Push(x any)        { *s = append(*s, x.(session)) } //nolint:forcetypeassert // only sessions come
func (s *sessions) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}
