package query

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"carryon/domain"
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
