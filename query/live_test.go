package query_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"carryon/domain"
	"carryon/infra/celfilter"
	"carryon/infra/memory"
	"carryon/query"
)

// station is a log with a live stream over it.
type station struct {
	t     testing.TB
	log   *memory.Connection
	hub   *query.Hub
	app   *query.App
	heads map[int]domain.Head
	seqs  map[string]uint64
}

func newStation(t testing.TB, shards ...int) *station {
	t.Helper()
	filters, err := celfilter.New()
	if err != nil {
		t.Fatal(err)
	}
	s := &station{t: t, log: memory.NewStore().Connect(), heads: map[int]domain.Head{}, seqs: map[string]uint64{}}
	s.hub = query.NewHub(s.log, shards, filters, nil, time.Hour)
	s.app = query.New(query.Ports{
		Live: s.hub, Cursors: query.NewCursors([]byte("a key of some length, for tests.")), Clock: time.Now,
		Pseudonyms: query.NewPseudonyms([]byte("another key of some length, 32..")),
	})
	return s
}

// record records plan changes of a customer in one entry, and tells the hub if asked to.
func (s *station) record(shard int, customer string, offer bool, plans ...string) {
	s.t.Helper()
	head := s.heads[shard]
	e := &domain.Entry{Shard: shard, Index: head.Index + 1, PreviousID: head.ID, Writer: "w", RecordedAt: time.Now().UTC()}
	e.ID[0], e.ID[1], e.ID[2] = byte(shard), byte(e.Index), byte(e.Index>>8)
	for i, plan := range plans {
		s.seqs[customer]++
		event := domain.Event{
			ID: fmt.Sprint(shard, e.Index, i), Stream: domain.CustomerStream(customer), Seq: s.seqs[customer],
			Position: domain.Position{Shard: shard, Index: e.Index, Place: i}, RecordedAt: e.RecordedAt, OccurredAt: e.RecordedAt,
			CommandID: fmt.Sprint(shard, e.Index, i), Actor: domain.Actor{ID: "billing", Role: domain.RoleService},
		}
		if err := event.SetData(&domain.PlanChanged{Plan: plan, Country: "US"}); err != nil {
			s.t.Fatal(err)
		}
		e.Events = append(e.Events, event)
	}
	if r, err := s.log.Claim(context.Background(), e); err != nil || !r.Applied {
		s.t.Fatal(r, err)
	}
	s.heads[shard] = domain.Head{Index: e.Index, ID: e.ID, Writer: "w"}
	if offer {
		s.hub.Offer(e)
	}
}

// radio is a listener who writes down what he hears.
type radio struct {
	stop  context.CancelFunc
	ended chan error

	mu    sync.Mutex
	items []query.LiveItem
}

func (s *station) listen(q query.Live) *radio {
	s.t.Helper()
	if q.By.Actor.Role == "" {
		q.By.Actor = domain.Actor{ID: "o", Role: domain.RoleOperator}
	}
	stream, err := s.app.Live.Handle(context.Background(), q)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &radio{stop: stop, ended: make(chan error, 1)}
	go func() {
		r.ended <- stream(ctx, func(item query.LiveItem) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.items = append(r.items, item)
			return nil
		})
	}()
	synctest.Wait()
	return r
}

// heard is what was told, as plans, notices as their codes; and the last id.
func (r *radio) heard(t testing.TB) (string, string) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	var words []string
	id := ""
	for _, item := range r.items {
		id = item.ID
		var body struct{ Plan, Code string }
		if item.Kind == query.LiveBeat {
			continue
		}
		if err := json.Unmarshal(item.Data, &body); err != nil {
			t.Fatal(err)
		}
		words = append(words, body.Plan+body.Code)
	}
	return strings.Join(words, " "), id
}

func TestAStreamIsContinuedFromASignOfLifeHoweverLongNothingMatched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, 1)
		r := s.listen(query.Live{Filter: `plan == "never"`})
		for i := range query.MaxLiveBehind + 50 {
			s.record(1, "a", true, "x")
			if i%100 == 0 {
				synctest.Wait()
			}
		}
		<-time.After(40 * time.Second)
		_, last := r.heard(t)
		again := s.listen(query.Live{Filter: `plan == "never"`, After: last})
		s.record(1, "a", true, "never")
		if got, _ := again.heard(t); got != "never" {
			t.Errorf("continued: %s", got)
		}
		for _, r := range []*radio{r, again} {
			r.stop()
			<-r.ended
		}
		s.hub.Close()
	})
}

func TestWhoListensHearsWhatPassesHisFilterFromNowOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, 0, 1, 2)
		s.record(1, "a", true, "before")
		everything := s.listen(query.Live{})
		some := s.listen(query.Live{Filter: `plan.startsWith("p") && customer == "b"`})
		s.record(1, "a", true, "ads", "premium")
		s.record(2, "b", true, "standard", "premium")
		s.record(1, "b", false, "pro") // not offered: found when the next one is
		s.record(1, "a", true, "last")
		if got, _ := everything.heard(t); got != "ads premium standard premium pro last" {
			t.Errorf("everything: %s", got)
		}
		if got, _ := some.heard(t); got != "premium pro" {
			t.Errorf("filtered: %s", got)
		}
		everything.stop()
		some.stop()
		synctest.Wait()
		if n := s.hub.Listeners(); n != 0 {
			t.Errorf("%d listen after all have gone", n)
		}
		s.hub.Close()
	})
}

func TestAStreamIsContinuedWithoutALossOrARepetition(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, 0, 1, 2)
		first := s.listen(query.Live{Filter: `plan != "no"`})
		s.record(1, "a", true, "one", "two", "three")
		s.record(2, "b", true, "no", "four")
		got, id := first.heard(t)
		first.stop()
		if got != "one two three four" {
			t.Fatalf("first: %s", got)
		}
		s.record(1, "a", true, "five", "no", "six")
		s.record(2, "b", true, "seven")
		second := s.listen(query.Live{Filter: `plan != "no"`, After: id})
		s.record(2, "b", true, "eight")
		if got, _ := second.heard(t); got != "five six seven eight" {
			t.Errorf("second: %s", got)
		}
		// In the middle of an entry, too.
		third := s.listen(query.Live{After: first.items[2].ID, Filter: `plan != "no"`}) // behind "two": items begin with a beat
		if got, _ := third.heard(t); got != "three five six four seven eight" {
			t.Errorf("third: %s", got)
		}
		second.stop()
		third.stop()
		synctest.Wait()
		s.hub.Close()
	})
}

func TestAnalystsHearPseudonymsAndFilterByThem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, 1)
		analyst := query.Caller{Actor: domain.Actor{ID: "n", Role: domain.RoleAnalyst}}
		pseudonym := query.NewPseudonyms([]byte("another key of some length, 32..")).Customer("alice-77")
		open := s.listen(query.Live{By: analyst, Filter: `customer == "alice-77" || actor != ""`})
		veiled := s.listen(query.Live{By: analyst, Filter: fmt.Sprintf("customer == %q", pseudonym)})
		s.record(1, "alice-77", true, "ads")
		if got, _ := open.heard(t); got != "" {
			t.Errorf("an analyst filtered by what analysts do not see: %s", got)
		}
		if got, _ := veiled.heard(t); got != "ads" {
			t.Errorf("by pseudonym: %q", got)
		}
		for _, item := range veiled.items {
			if strings.Contains(string(item.Data), "alice-77") || strings.Contains(string(item.Data), "billing") {
				t.Errorf("an analyst is told %s", item.Data)
			}
		}
		open.stop()
		veiled.stop()
		synctest.Wait()
		s.hub.Close()
	})
}

func TestWhoDoesNotTakeWhatHeIsToldIsDroppedAndSlowsNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, 1)
		stream, err := s.app.Live.Handle(t.Context(), query.Live{By: query.Caller{Actor: domain.Actor{Role: domain.RoleOperator}}})
		if err != nil {
			t.Fatal(err)
		}
		wake := make(chan struct{})
		var slow []query.LiveItem
		ended := make(chan error, 1)
		go func() {
			ended <- stream(t.Context(), func(item query.LiveItem) error {
				if item.Kind != query.LiveBeat {
					<-wake
				}
				slow = append(slow, item)
				return nil
			})
		}()
		quick := s.listen(query.Live{Fields: []string{"plan"}})
		const entries = 1500
		for range entries {
			s.record(1, "a", true, "p")
			synctest.Wait()
		}
		if got, _ := quick.heard(t); strings.Count(got, "p") != entries {
			t.Errorf("the quick one heard %d of %d", strings.Count(got, "p"), entries)
		}
		close(wake)
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		last := slow[len(slow)-1]
		if last.Kind != query.LiveNotice || !strings.Contains(string(last.Data), "TOO_SLOW") || len(slow) > entries {
			t.Errorf("the slow one got %d items, the last %s", len(slow), last.Data)
		}
		again := s.listen(query.Live{After: last.ID})
		if got, _ := again.heard(t); strings.Count(got, "p")+len(slow)-2 != entries { // without the beat and the notice
			t.Errorf("before %d, continued %d, of %d", len(slow)-2, strings.Count(got, "p"), entries)
		}
		quick.stop()
		again.stop()
		synctest.Wait()
		s.hub.Close()
	})
}

func TestClosingEndsAllStreamsWithANotice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, 1)
		r := s.listen(query.Live{})
		s.hub.Close()
		if err := <-r.ended; err != nil {
			t.Fatal(err)
		}
		if got, _ := r.heard(t); got != "CLOSING" {
			t.Fatalf("heard %q", got)
		}
		late := s.listen(query.Live{})
		if err := <-late.ended; !errors.Is(err, query.ErrUnavailable) {
			t.Fatalf("after closing: %v", err)
		}
	})
}

func TestNothingIsDoneWhileNobodyListens(t *testing.T) { // alone: it counts allocations
	s := newStation(t, 1)
	e := &domain.Entry{Shard: 1, Index: 1}
	if allocated := testing.AllocsPerRun(1000, func() { s.hub.Offer(e) }); allocated > 0 {
		t.Errorf("an offer allocates %v times", allocated)
	}
}

func TestLiveQuestionsAreChecked(t *testing.T) {
	t.Parallel()
	s := newStation(t, 1)
	for _, c := range []struct {
		q     query.Live
		field string
	}{
		{query.Live{Filter: "typ == 1"}, "filter"},
		{query.Live{Filter: strings.Repeat("x", 3000)}, "filter"},
		{query.Live{Fields: []string{"plan", "secret"}}, "fields"},
		{query.Live{After: "made up"}, "Last-Event-ID"},
	} {
		_, err := s.app.Live.Handle(t.Context(), c.q)
		var wrong *domain.FieldError
		if !errors.As(err, &wrong) || wrong.Field != c.field {
			t.Errorf("%+v: %v", c.q, err)
		}
	}
}

// BenchmarkOfferWithoutListeners is what a writer pays for the live stream when nobody listens.
func BenchmarkOfferWithoutListeners(b *testing.B) {
	s := newStation(b, 1)
	e := &domain.Entry{Shard: 1, Index: 1}
	b.ReportAllocs()
	for b.Loop() {
		s.hub.Offer(e)
	}
}

// BenchmarkThousandListeners: an event to a thousand listeners, each with another filter, of whom one percent match.
func BenchmarkThousandListeners(b *testing.B) {
	s := newStation(b, 1)
	ctx, stop := context.WithCancel(b.Context())
	var group sync.WaitGroup
	var ready sync.WaitGroup
	heard := make(chan struct{}, 1024)
	for i := range 1000 {
		stream, err := s.app.Live.Handle(ctx, query.Live{
			By: query.Caller{Actor: domain.Actor{Role: domain.RoleOperator}}, Filter: fmt.Sprintf(`plan == "p%d" && seq > %d`, i%100, -i), Fields: []string{"plan", "customer"},
		})
		if err != nil {
			b.Fatal(err)
		}
		ready.Add(1)
		group.Go(func() {
			_ = stream(ctx, func(item query.LiveItem) error {
				if item.Kind == query.LiveBeat {
					ready.Done()
				} else {
					heard <- struct{}{}
				}
				return nil
			})
		})
	}
	ready.Wait()
	n := 0
	for b.Loop() {
		s.record(1, "a", true, fmt.Sprintf("p%d", n%100))
		n++
		for range 10 {
			<-heard
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
	stop()
	group.Wait()
	s.hub.Close()
}

// looks is an access log.
type looks struct{ all []query.Access }

func (l *looks) Record(_ context.Context, looks ...query.Access) error {
	l.all = append(l.all, looks...)
	return nil
}

func (l *looks) Accesses(context.Context, string, int64, int) ([]query.Access, error) {
	return l.all, nil
}

// owners knows whose an id is.
type owners struct {
	query.CustomersModel
	of map[string]string
}

func (o owners) Things(_ context.Context, id string, _ int) ([]query.Thing, error) {
	if o.of[id] == "" {
		return nil, nil
	}
	return []query.Thing{{Customer: o.of[id]}}, nil
}

func TestThatSupportListensIsRecordedForWhomeverTheFilterNames(t *testing.T) {
	t.Parallel()
	filters, err := celfilter.New()
	if err != nil {
		t.Fatal(err)
	}
	hub := query.NewHub(memory.NewStore().Connect(), []int{1}, filters, nil, time.Hour)
	defer hub.Close()
	for _, test := range []struct {
		role   domain.Role
		filter string
		want   string // of whom, in order
	}{
		{domain.RoleSupport, ``, "|"},
		{domain.RoleSupport, `customer == "alice-77" && series != 'alice-77'`, "||alice-77"},
		{domain.RoleSupport, `type == "LicenseDenied" || device_id in ["dev-1", "dev-2"]`, "||alice-77|bob"},
		{domain.RoleOperator, `customer == "alice-77"`, ""},
		{domain.RoleAnalyst, `customer == "alice-77"`, ""},
	} {
		log := &looks{}
		app := query.New(query.Ports{
			Live: hub, Cursors: query.NewCursors([]byte("a key of some length, for tests.")), Clock: time.Now, Desk: query.Desk{Log: log, Now: time.Now},
			Customers: owners{of: map[string]string{"alice-77": "alice-77", "dev-1": "alice-77", "dev-2": "bob"}},
		})
		by := query.Caller{Actor: domain.Actor{ID: "s", Role: test.role}, RequestID: "r"}
		if _, err := app.Live.Handle(t.Context(), query.Live{By: by, Filter: test.filter}); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, look := range log.all {
			got += "|" + look.Customer
			if look.What != strings.TrimSpace("live "+test.filter) || look.Actor != by.Actor || look.RequestID != "r" {
				t.Errorf("%s listens for %s: recorded %+v", test.role, test.filter, look)
			}
		}
		if got != test.want {
			t.Errorf("%s listens for %s: recorded for %q, want %q", test.role, test.filter, got, test.want)
		}
	}
}
