package domain

import (
	"fmt"
	"testing"
	"time"
)

// busyCustomer holds 30 active licences on two devices, with a past.
func busyCustomer(b tb) *world {
	w := newWorld()
	w.plan(b, "premium", "DE")
	for i := range 60 {
		studio := []string{"aurora", "borealis", "foxglove", "granite"}[i%4]
		w.movie(fmt.Sprintf("t%05d", i), studio)
		license := w.granted(b, []string{"dev-phone-1", "dev-tablet-2"}[i%2], fmt.Sprintf("t%05d", i))
		if i < 30 {
			w.do(b, func(c *Customer, m Moment) (Verdict, error) { return c.Release(m, license, nil) })
		}
		w.pass(time.Hour)
	}
	w.movie("new", "house")
	return w
}

func BenchmarkAcquireGrantWithThirtyActiveLicences(b *testing.B) {
	w := busyCustomer(b)
	m, r := w.moment(), w.ask("dev-phone-1", "new")
	b.ReportAllocs()
	for b.Loop() {
		c := w.books.Clone().(*Customer)
		v, err := c.Acquire(m, r)
		if err != nil || v.Decision.Outcome != OutcomeGrant {
			b.Fatal(err, v.Decision)
		}
	}
}

func BenchmarkAcquireRefusalWithRemedies(b *testing.B) {
	w := busyCustomer(b)
	w.movie("e0", "ember")
	for i := range 10 {
		id := fmt.Sprintf("e%d", i+1)
		w.movie(id, "ember")
		w.granted(b, "dev-phone-1", id)
	}
	m, r := w.moment(), w.ask("dev-phone-1", "e0")
	b.ReportAllocs()
	for b.Loop() {
		v, err := w.books.Acquire(m, r)
		if err != nil || v.Decision.Code != CodeStudioLimitReached {
			b.Fatal(err, explain(v.Decision))
		}
	}
}

func BenchmarkFoldOneEvent(b *testing.B) {
	w := busyCustomer(b)
	m := w.moment()
	v, err := w.books.Acquire(m, w.ask("dev-phone-1", "new"))
	if err != nil {
		b.Fatal(err)
	}
	var events []Event
	for i, n := range v.Events {
		e := Event{Stream: "customer/c1", Seq: w.books.Version() + uint64(i) + 1, RecordedAt: m.Now, Actor: m.Actor}
		if err := e.SetData(n.Payload); err != nil {
			b.Fatal(err)
		}
		events = append(events, e)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		c := w.books.clone()
		for i := range events {
			if err := c.Apply(&events[i]); err != nil {
				b.Fatal(err)
			}
		}
		n += len(events)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/event")
}

func BenchmarkMarshalState(b *testing.B) {
	w := busyCustomer(b)
	b.ReportAllocs()
	size := 0
	for b.Loop() {
		data, err := w.books.AppendBinary(nil)
		if err != nil {
			b.Fatal(err)
		}
		size = len(data)
	}
	b.ReportMetric(float64(size), "bytes")
}

func BenchmarkRestoreState(b *testing.B) {
	w := busyCustomer(b)
	data := marshalled(b, w.books)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := RestoreAggregate("customer/c1", FoldVersion, string(data)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSummary(b *testing.B) {
	w := busyCustomer(b)
	b.ReportAllocs()
	for b.Loop() {
		if s := w.books.Summary(w, w.now); len(s.Counters) == 0 {
			b.Fatal("no counters")
		}
	}
}
