//go:build real

package elastic

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"carryon/domain"
	"carryon/infra/conformance"
	"carryon/projector"
	"carryon/query"
)

// benchShards are as many as there are by default.
const benchShards = 16

// benchLog is a history of a hundred thousand events, or of as many as CARRYON_BACKLOG says, made once.
var benchLog = sync.OnceValues(func() (entriesLog, error) {
	events := 100_000
	if n, err := strconv.Atoi(os.Getenv("CARRYON_BACKLOG")); err == nil {
		events = n
	}
	h, err := conformance.NewHistory(1, events/50, benchShards)
	if err != nil {
		return nil, err
	}
	h.Pace = 12 * time.Minute
	log := entriesLog{}
	for _, e := range h.Grow(events) {
		for j := range e.Events {
			e.Events[j].Decode()
		}
		log[e.Shard] = append(log[e.Shard], e)
	}
	return log, nil
})

// BenchmarkBacklog drains the backlog into an empty index, about 4,096 events a commit, and sends the same documents,
// encoded beforehand, by bare bulks of the same size, two at once, into another. ratio is the first by the second.
func BenchmarkBacklog(b *testing.B) {
	log, err := benchLog()
	if err != nil {
		b.Fatal(err)
	}
	bodies := bareBodies(b, log, 2500)
	var projected, bare time.Duration
	events := 0
	for b.Loop() {
		s := searchOn(b, testConfig(b), log, nil)
		if err := s.Prepare(b.Context()); err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		events += fill(b, s, log)
		projected += time.Since(began)
		plain := searchOn(b, testConfig(b), log, nil)
		if err := plain.Prepare(b.Context()); err != nil {
			b.Fatal(err)
		}
		began = time.Now()
		sendBare(b, plain, bodies)
		bare += time.Since(began)
	}
	b.ReportMetric(float64(events)/projected.Seconds(), "docs/s")
	b.ReportMetric(float64(events)/bare.Seconds(), "bare-docs/s")
	b.ReportMetric(bare.Seconds()/projected.Seconds(), "ratio")
}

// fill applies a log as consumers do, each shard by itself, about 4,096 events a commit, and returns the number of events.
func fill(b *testing.B, s *Search, log entriesLog) (events int) {
	b.Helper()
	var group sync.WaitGroup
	for _, entries := range log {
		for i := range entries {
			events += len(entries[i].Events)
		}
		group.Go(func() {
			for len(entries) > 0 {
				n, size := 0, 0
				for n < len(entries) && (n == 0 || size+len(entries[n].Events) <= 4096) {
					size += len(entries[n].Events)
					n++
				}
				if err := conformance.ApplyEntries(b.Context(), projector.Store[projector.SearchTx](s), projector.Search{}, entries[:n]); err != nil {
					b.Error(err)
					return
				}
				entries = entries[n:]
			}
		})
	}
	group.Wait()
	return events
}

func bareBodies(b *testing.B, log entriesLog, each int) [][]byte {
	b.Helper()
	var bodies [][]byte
	var buffer bytes.Buffer
	n := 0
	for _, entries := range log {
		for i := range entries {
			for j := range entries[i].Events {
				e := &entries[i].Events[j]
				d, err := projector.DocumentOf(e)
				if err != nil {
					b.Fatal(err)
				}
				w := write{id: eventID(e.Stream, e.Seq), version: int64(e.Position.Index), source: documentOf(&d)}
				if err := w.encode(&buffer); err != nil {
					b.Fatal(err)
				}
				if n++; n%each == 0 {
					bodies = append(bodies, bytes.Clone(buffer.Bytes()))
					buffer.Reset()
				}
			}
		}
	}
	return append(bodies, buffer.Bytes())
}

// bareAtOnce bulks keep two processors busy; with more of them it goes no faster.
const bareAtOnce = 2

func sendBare(b *testing.B, s *Search, bodies [][]byte) {
	b.Helper()
	queue := make(chan []byte)
	var group sync.WaitGroup
	for range bareAtOnce {
		group.Go(func() {
			for body := range queue {
				var answer bulkAnswer
				if err := s.c.call(b.Context(), http.MethodPost, "/"+s.index+"/_bulk?filter_path=errors", lines(body), &answer); err != nil || answer.Errors {
					b.Error(err, answer.Errors)
				}
			}
		})
	}
	for _, body := range bodies {
		if len(body) > 0 {
			queue <- body
		}
	}
	close(queue)
	group.Wait()
}

// BenchmarkSearch asks questions of the backlog, and reports the median and the slowest hundredth.
func BenchmarkSearch(b *testing.B) {
	log, err := benchLog()
	if err != nil {
		b.Fatal(err)
	}
	s := searchOn(b, testConfig(b), log, nil)
	fill(b, s, log)
	if err := s.refresh(b.Context()); err != nil {
		b.Fatal(err)
	}
	app := query.New(query.Ports{Clock: time.Now, Cursors: query.NewCursors(nil), Search: s})
	by := query.Caller{Actor: domain.Actor{ID: "bench", Role: domain.RoleOperator}}
	for name, q := range map[string]query.SearchEvents{
		"a frequent word with all facets": {Q: "license", Facets: query.FacetFields()},
		"words of a title with a facet":   {Q: "the mother denied", Facets: []string{"code"}},
		"as one types":                    {Q: "the mo"},
		"a typo":                          {Q: "mohter"},
		"filters":                         {Filter: query.Filter{Code: []string{domain.CodeDeviceLimitReached}, Plan: []string{"ads"}}},
	} {
		q.By = by
		b.Run(name, func(b *testing.B) { percentiles(b, func(ctx context.Context) error { return asks(ctx, app, q) }) })
	}
}

func asks(ctx context.Context, app *query.App, q query.SearchEvents) error {
	answer, err := app.SearchEvents.Handle(ctx, q)
	if err == nil && answer.Total == 0 {
		return fmt.Errorf("nothing is found for %q", q.Q)
	}
	return err
}

func percentiles(b *testing.B, ask func(context.Context) error) {
	b.Helper()
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		if err := ask(b.Context()); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
