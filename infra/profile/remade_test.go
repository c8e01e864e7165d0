package profile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carryon/api/cli"
	"carryon/api/simulate"
	"carryon/command"
	"carryon/domain"
)

// What the README promises of a decision, held against a whole history: every grant, renewal, reissue and refusal is
// made again from the events before it, and must be the recorded bytes.
//
// CARRYON_TEST_EVENTS makes a longer history (100000 is the demo's), CARRYON_TEST_DATA takes the one in a data folder,
// a copy best: it is opened like any other.

func TestEveryDecisionOfAHistoryCanBeMadeAgainByteForByte(t *testing.T) {
	t.Parallel()
	dir, given := os.Getenv("CARRYON_TEST_DATA"), true
	if dir == "" {
		dir, given = t.TempDir(), false
	}
	clock := &pretended{}
	s, err := OpenEmbedded(t.Context(), configured(t, dir), cli.OpenOptions{Clock: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	if !given {
		makeHistory(t, s, clock, int64(envInt("CARRYON_TEST_EVENTS", 5000)))
	}
	found := remakeAll(t, s)
	if given {
		return
	}
	for _, event := range []string{"LicenseIssued", "LicenseReissued", "LicenseRenewed", "LicenseDenied"} {
		if found.by[event] == 0 {
			t.Errorf("the history has no %s", event)
		}
	}
	if len(found.policies) < 2 || len(found.references) < 3 || len(found.codes) < 6 {
		t.Errorf("the history is too plain: policies %v, references %v, refusals %v", found.policies, found.references, found.codes)
	}
}

// makeHistory makes what the demo makes, with a policy that was published and a title that was withdrawn on the way.
func makeHistory(t *testing.T, s *System, clock *pretended, events int64) {
	t.Helper()
	to := time.Now().UTC().Truncate(time.Second)
	from := to.Add(-120 * 24 * time.Hour)
	titles := s.catalogue.Catalogue()
	random := rand.New(rand.NewPCG(1, 7)) //nolint:gosec // keys of pretended commands
	meta := func(at time.Time) command.Meta {
		return command.Meta{CommandID: simulate.NewKey(at, random), Actor: domain.Actor{ID: "catalogue", Role: domain.RoleService}}
	}
	changes := []struct {
		at time.Duration
		do func(at time.Time) error
	}{
		{50 * 24 * time.Hour, func(at time.Time) error {
			_, err := s.Commands().PublishPolicy(t.Context(), command.PublishPolicy{Meta: meta(at), Policy: domain.PolicyDefault, Document: stricter(t)})
			return err
		}},
		{80 * 24 * time.Hour, func(at time.Time) error {
			_, err := s.Commands().WithdrawTitle(t.Context(), command.WithdrawTitle{Meta: meta(at), TitleID: titles.Pick(random).ID})
			return err
		}},
	}
	clock.set(from)
	_, err := simulate.History(t.Context(), simulate.Handlers{App: s.Commands()}, simulate.HistoryOptions{
		Options: simulate.Options{
			Seed: 7, Households: max(60, int(events/50)), Prefix: "c", Callers: 32, Repeats: 0.01, Patience: 3,
			Titles: titles, Lookup: titles.Title,
		},
		From: from, To: to, Events: events, Written: s.Recorded, SetClock: func(at time.Time) {
			clock.set(at)
			for len(changes) > 0 && !at.Before(from.Add(changes[0].at)) {
				if err := changes[0].do(at); err != nil {
					t.Error(err)
				}
				changes = changes[1:]
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	clock.release()
}

type remadeHistory struct {
	mu         sync.Mutex
	decisions  int
	by         map[string]int // by the type of the event that recorded it
	codes      map[string]int
	policies   map[int]int
	references map[uint64]int
}

// remakeAll makes all decisions in the log again. It goes by the log itself, so that none is left out.
func remakeAll(t *testing.T, s *System) *remadeHistory {
	t.Helper()
	recorded := map[domain.StreamID][]recordedRaw{}
	events := 0
	heads, err := s.Heads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for shard := range heads {
		for from := uint64(1); ; {
			page, err := s.log.Read(t.Context(), shard, from, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			for i := range page {
				for j := range page[i].Events {
					events++
					noteDecision(t, recorded, &page[i].Events[j])
				}
			}
			from = page[len(page)-1].Index + 1
		}
	}
	found := &remadeHistory{by: map[string]int{}, codes: map[string]int{}, policies: map[int]int{}, references: map[uint64]int{}}
	queue := make(chan domain.StreamID, len(recorded))
	for _, stream := range slices.Sorted(maps.Keys(recorded)) {
		queue <- stream
	}
	close(queue)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for stream := range queue {
				found.compare(t, s, stream, recorded[stream])
			}
		})
	}
	workers.Wait()
	if events == 0 || found.decisions == 0 {
		t.Fatalf("%d events, %d decisions: nothing was compared", events, found.decisions)
	}
	t.Logf("%d events of %d customers; %d decisions made again: %v, refusals %v, policies %v",
		events, len(recorded), found.decisions, found.by, found.codes, found.policies)
	return found
}

// recordedRaw is a decision as it stands in the log.
type recordedRaw struct {
	event    string
	seq      uint64
	decision json.RawMessage
}

func noteDecision(t *testing.T, recorded map[domain.StreamID][]recordedRaw, e *domain.Event) {
	t.Helper()
	if e.Stream != domain.CustomerStream(e.Stream.ID()) {
		return
	}
	var payload struct {
		Decision json.RawMessage `json:"decision"`
	}
	if err := json.Unmarshal(e.Payload, &payload); err != nil {
		t.Fatalf("%s %d: %v", e.Stream, e.Seq, err)
	}
	if payload.Decision != nil {
		recorded[e.Stream] = append(recorded[e.Stream], recordedRaw{e.Type, e.Seq, payload.Decision})
	}
}

// compare makes the decisions of a customer again and holds each against the recorded bytes.
func (h *remadeHistory) compare(t *testing.T, s *System, stream domain.StreamID, recorded []recordedRaw) {
	for made, err := range s.Commands().Decisions(t.Context(), stream.ID()) {
		if errors.Is(err, context.Canceled) {
			return
		}
		if err != nil {
			t.Errorf("%s: %v", stream, err)
			return
		}
		if len(recorded) == 0 || recorded[0].seq != made.Event.Seq {
			t.Errorf("%s %d: a decision that is not in the log in this place", stream, made.Event.Seq)
			return
		}
		was := recorded[0]
		recorded = recorded[1:]
		again, err := json.Marshal(&made.Again)
		if err != nil {
			t.Errorf("%s %d: %v", stream, was.seq, err)
			return
		}
		if !bytes.Equal(again, was.decision) || !made.Same {
			t.Errorf("%s %d, %s: recorded\n%s\nmade again\n%s", stream, was.seq, was.event, was.decision, again)
		}
		h.count(&made, was.event)
	}
	if len(recorded) > 0 {
		t.Errorf("%s: %d decisions were not made again, the first at seq %d", stream, len(recorded), recorded[0].seq)
	}
}

func (h *remadeHistory) count(made *command.Recomputed, event string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.decisions++
	h.by[event]++
	if made.Recorded.Code != "" {
		h.codes[made.Recorded.Code]++
	}
	h.policies[made.Recorded.Versions.Policy]++
	h.references[made.Recorded.Versions.Reference]++
}

// pretended is the clock in whose time a history is made up.
type pretended struct{ ns atomic.Int64 }

// Now is the pretended time, or the real one.
func (p *pretended) Now() time.Time {
	if ns := p.ns.Load(); ns != 0 {
		return time.Unix(0, ns).UTC()
	}
	return time.Now().UTC()
}

func (p *pretended) set(at time.Time) { p.ns.Store(at.UnixNano()) }
func (p *pretended) release()         { p.ns.Store(0) }
