package projector_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"carryon/domain"
	"carryon/infra/memory/readmodel"
	"carryon/projector"
)

// cheap is a projection that costs as little as one can, so that what is measured is the consumer.
type cheap struct{}

func (cheap) Name() string { return "cheap" }

func (cheap) Apply(_ context.Context, tx *readmodel.Tx, events []*domain.Event) error {
	for _, event := range events {
		tx.Put("seq", string(event.Stream), nil)
	}
	return nil
}

// BenchmarkBacklog applies a backlog of entries of 32 events each, pulled from the log.
func BenchmarkBacklog(b *testing.B) {
	const entries, events = 5000, 32
	log := newJournal()
	for i := range entries {
		customers := make([]string, events)
		for n := range customers {
			customers[n] = fmt.Sprintf("c%d", (i*events+n)%2000)
		}
		log.claim(1, customers...)
	}
	b.ReportAllocs()
	for b.Loop() {
		store := readmodel.New()
		shared := projector.NewShared(log, 8<<20)
		c := projector.NewConsumer(projector.Config{}, projector.Projection[*readmodel.Tx](cheap{}), projector.Store[*readmodel.Tx](store),
			shared, log, []int{1}, time.Now, nil)
		if err := (projector.Runners{c}).CatchUp(b.Context(), log, []int{1}, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*entries/b.Elapsed().Seconds(), "entries/s")
	b.ReportMetric(float64(b.N)*entries*events/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkOffered applies entries of one event one after the other, each waited for: the time from a message to the
// row, without the pace that lets entries come together under load.
func BenchmarkOffered(b *testing.B) {
	log := newJournal()
	store := readmodel.New()
	c := projector.NewConsumer(projector.Config{Pace: 1}, projector.Projection[*readmodel.Tx](cheap{}), projector.Store[*readmodel.Tx](store),
		log, log, []int{1}, time.Now, nil)
	ctx, cancel := context.WithCancel(b.Context())
	var group sync.WaitGroup
	group.Go(func() { _ = c.Run(ctx) })
	for b.Loop() {
		e := log.claim(1, "a")
		c.Offer(e)
		if err := c.WaitFor(ctx, e.Events[0].Position, "customer/a"); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	group.Wait()
}
