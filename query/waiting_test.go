package query

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// patient waits until it is told to stop.
type patient struct{}

func (p *patient) WaitFor(ctx context.Context, _ domain.Position, _ domain.StreamID) error {
	<-ctx.Done()
	return ctx.Err()
}

func (p *patient) WaitForVersion(ctx context.Context, _ domain.StreamID, _ uint64, _ func(context.Context) (uint64, error)) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestNobodyHoldsEveryRequestByWaitingForWhatWillNeverBe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := bounded(map[string]Waiter{"customers": &patient{}, "search": &patient{}})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 2*maxWaits)
		at := func(version uint64) func(context.Context) (uint64, error) {
			return func(context.Context) (uint64, error) { return version, nil }
		}
		wait := func(model string, stream domain.StreamID) {
			go func() { ended <- w[model].WaitForVersion(ctx, stream, 9, at(1)) }()
			synctest.Wait()
		}
		for range maxWaitsEach + 1 {
			wait("customers", "customer/a")
		}
		if err := <-ended; !errors.Is(err, context.DeadlineExceeded) || len(ended) != 0 {
			t.Fatalf("one too many for a stream: %v, and %d others ended", err, len(ended))
		}
		if err := w["customers"].WaitForVersion(ctx, "customer/a", 9, at(9)); err != nil {
			t.Errorf("what is there already: %v", err)
		}
		for range maxWaits - maxWaitsEach {
			go func() { ended <- w["search"].WaitFor(ctx, domain.Position{}, "") }()
		}
		synctest.Wait()
		if err := w["customers"].WaitFor(ctx, domain.Position{}, "customer/b"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one too many: %v", err)
		}
		stop()
		synctest.Wait()
		again, enough := context.WithCancel(t.Context())
		go func() { ended <- w["customers"].WaitForVersion(again, "customer/a", 9, at(1)) }()
		synctest.Wait()
		if n := len(ended); n != maxWaits {
			t.Errorf("%d of %d ended", n, maxWaits)
		}
		enough()
		synctest.Wait()
	})
}

// ends are the ends of two shards' logs.
type ends map[int]uint64

func (e ends) Shards() []int { return []int{0, 1} }

func (e ends) Head(_ context.Context, shard int) (domain.Head, error) {
	if e == nil {
		return domain.Head{}, ErrUnavailable
	}
	return domain.Head{Index: e[shard]}, nil
}

// written is a stream of so many events.
type written uint64

func (w written) Events(_ context.Context, stream domain.StreamID, from uint64) iter.Seq2[*domain.Event, error] {
	return func(yield func(*domain.Event, error) bool) {
		for seq := from; seq <= uint64(w); seq++ {
			if !yield(&domain.Event{Stream: stream, Seq: seq}, nil) {
				return
			}
		}
	}
}

// lagging shows version 1 of every stream.
type lagging struct{}

func (lagging) StreamVersion(context.Context, domain.StreamID) (projector.StreamVersion, error) {
	return projector.StreamVersion{Version: 1}, nil
}

func TestOnlyWhatIsRecordedIsWaitedForUntilTheDeadline(t *testing.T) {
	t.Parallel()
	const deadline = 15 * time.Second
	for what, c := range map[string]struct {
		asked  Consistency
		tails  Tails
		waited time.Duration
		says   string
	}{
		"a version that is there":         {Consistency{MinVersion: 7}, ends{0: 9}, deadline, "read model customers is behind with customer/a: wanted version 7"},
		"a version that is not":           {Consistency{MinVersion: 8}, ends{0: 9}, askLogAfter, "wanted version 8, reached version 1"},
		"a position that is there":        {Consistency{MinPosition: domain.Position{Index: 9}}, ends{0: 9}, deadline, "read model customers is behind with customer/a: wanted position 0:9"},
		"a position that is not":          {Consistency{MinPosition: domain.Position{Shard: 1, Index: 1}}, ends{0: 9}, askLogAfter, "wanted position 1:1, reached position 1:0"},
		"a shard that is not":             {Consistency{MinPosition: domain.Position{Shard: 2, Index: 1}}, ends{0: 9}, 0, "min_position"},
		"a log that can't be read now":    {Consistency{MinPosition: domain.Position{Index: 10}}, ends(nil), deadline, "wanted position 0:10"},
		"nothing that could read the log": {Consistency{MinPosition: domain.Position{Shard: 2, Index: 10}}, nil, deadline, "wanted position 2:10"},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &Ports{Waiters: map[string]Waiter{"customers": &reading{}}, Books: written(7), Tails: c.tails}
			ctx, stop := context.WithTimeout(t.Context(), deadline)
			defer stop()
			began := time.Now()
			err := p.wait(ctx, c.asked, "customers", lagging{}, "customer/a")
			if err == nil || !strings.Contains(err.Error(), c.says) || time.Since(began) != c.waited {
				t.Errorf("%s: after %s: %v", what, time.Since(began), err)
			}
		})
	}
}

// reading looks before it waits until it is told to stop.
type reading struct{ patient }

func (r *reading) WaitForVersion(ctx context.Context, s domain.StreamID, version uint64, current func(context.Context) (uint64, error)) error {
	if _, err := current(ctx); err != nil {
		return err
	}
	return r.patient.WaitForVersion(ctx, s, version, current)
}
