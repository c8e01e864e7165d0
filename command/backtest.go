package command

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"carryon/domain"
)

// A backtest decides what was decided again, under another policy: each recorded decision on the books as they were, at
// its own moment, with the titles and withdrawals that were known then. It says what would have been decided otherwise.
// It does not make up another history: after a grant that would have been refused, the books go on as they did.

// Backtest says what to decide again, and under which policy.
type Backtest struct {
	Policy   *domain.Policy
	From, To time.Time // decided in [From, To); zero: open
	Studios  []string  // of the title; empty: all
	Plans    []string  // of the customer at that moment; empty: all
	Sample   float64   // share of the customers, chosen by Seed; 0: all
	Seed     uint64
	Workers  int // 0: one a processor

	Progress func(done, total int64)   // customers; may be nil; called from several goroutines
	Each     func(d *Difference) error // every difference, one at a time, in no order; may be nil
}

// Difference is a decision that would have been another.
type Difference struct {
	Decision  string    `json:"decision"`
	Customer  string    `json:"customer"`
	Seq       uint64    `json:"seq"` // of the event that recorded it
	DecidedAt time.Time `json:"decided_at"`
	Command   string    `json:"command"`
	TitleID   string    `json:"title_id,omitempty"`
	Studio    string    `json:"studio,omitempty"`
	Plan      string    `json:"plan,omitempty"`
	Country   string    `json:"country,omitempty"`
	Was       string    `json:"was"`              // grant, refuse
	WasCode   string    `json:"was_code"`         // of a refusal
	Would     string    `json:"would"`            // grant, refuse
	WouldCode string    `json:"would_code"`       // of a refusal
	Rule      string    `json:"rule,omitempty"`   // that refuses now, or no longer
	Source    string    `json:"source,omitempty"` // where its limit comes from, as in "plan standard"
}

// Kind tells what became of the decision.
func (d *Difference) Kind() string {
	switch {
	case d.Was == domain.OutcomeGrant && d.Would == domain.OutcomeRefuse:
		return WouldRefuse
	case d.Was == domain.OutcomeRefuse && d.Would == domain.OutcomeGrant:
		return WouldGrant
	}
	return WouldSayOtherwise
}

// Kinds of differences.
const (
	WouldRefuse       = "would_refuse"        // a past grant would be refused
	WouldGrant        = "would_grant"         // a past refusal would be granted
	WouldSayOtherwise = "would_say_otherwise" // refused both times, for another reason
)

// Tally counts differences by kind.
type Tally map[string]int64

// BacktestReport is what came of a backtest.
type BacktestReport struct {
	Customers int64 `json:"customers"`
	Events    int64 `json:"events"`    // that were folded
	Decisions int64 `json:"decisions"` // that were made again
	Left      int64 `json:"left_out"`  // decisions that can't be made again from the books: grants made without them

	Total    Tally            `json:"total"`
	ByRule   map[string]Tally `json:"by_rule"`
	ByPlan   map[string]Tally `json:"by_plan"`
	ByStudio map[string]Tally `json:"by_studio"`
	Examples []Difference     `json:"examples"` // some of each kind, the earliest
	Took     time.Duration    `json:"-"`
}

const examplesPerKind = 5

func (b *Backtest) check() error {
	var errs FieldErrors
	if b.Policy == nil {
		errs = append(errs, &domain.FieldError{Field: "policy", Problem: "is missing"})
	}
	if b.Sample < 0 || b.Sample > 1 || math.IsNaN(b.Sample) {
		errs = append(errs, &domain.FieldError{Field: "sample", Problem: "is outside 0 to 1"})
	}
	if !b.From.IsZero() && !b.To.IsZero() && !b.To.After(b.From) {
		errs = append(errs, &domain.FieldError{Field: "to", Problem: "is not after from"})
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

// Backtest runs a backtest over the whole history, with all processors.
func (a *App) Backtest(ctx context.Context, b Backtest) (BacktestReport, error) {
	if err := b.check(); err != nil {
		return BacktestReport{}, err
	}
	if b.Workers <= 0 {
		b.Workers = runtime.GOMAXPROCS(0)
	}
	begin := time.Now()
	streams, err := a.customers(ctx, &b)
	if err != nil {
		return BacktestReport{}, fmt.Errorf("backtest: %w", err)
	}
	t := &test{app: a, Backtest: &b, total: int64(len(streams)), references: map[knownThen]domain.Reference{}}
	t.report = BacktestReport{Total: Tally{}, ByRule: map[string]Tally{}, ByPlan: map[string]Tally{}, ByStudio: map[string]Tally{}}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	queue := make(chan domain.StreamID, 4*b.Workers)
	var workers sync.WaitGroup
	for range b.Workers {
		workers.Go(func() {
			for stream := range queue {
				if err := t.customer(ctx, stream); err != nil {
					stop(err)
				}
			}
		})
	}
	for _, stream := range streams {
		select {
		case queue <- stream:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(queue)
	workers.Wait()
	if err := context.Cause(ctx); err != nil {
		return BacktestReport{}, fmt.Errorf("backtest: %w", err)
	}
	slices.SortFunc(t.report.Examples, func(x, y Difference) int { return x.DecidedAt.Compare(y.DecidedAt) })
	t.report.Took = time.Since(begin)
	return t.report, nil
}

// customers are the streams of the customers of whom something was recorded, or a sample of them.
func (a *App) customers(ctx context.Context, b *Backtest) ([]domain.StreamID, error) {
	seen := map[domain.StreamID]struct{}{}
	for shard := 1; shard <= a.books.shards; shard++ {
		for from := uint64(1); ; {
			entries, err := a.books.log.Read(ctx, shard, from, DefaultReadMaxBytes)
			if err != nil {
				return nil, fmt.Errorf("reading the log of shard %d from %d: %w", shard, from, err)
			}
			if len(entries) == 0 {
				break
			}
			for i := range entries {
				for j := range entries[i].Events {
					if e := &entries[i].Events[j]; e.Seq == 1 && b.sampled(e.Stream) {
						seen[e.Stream] = struct{}{}
					}
				}
			}
			from = entries[len(entries)-1].Index + 1
		}
	}
	streams := make([]domain.StreamID, 0, len(seen))
	for stream := range seen {
		streams = append(streams, stream)
	}
	slices.Sort(streams)
	return streams, nil
}

func (b *Backtest) sampled(stream domain.StreamID) bool {
	if b.Sample == 0 || b.Sample == 1 {
		return true
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d/%s", b.Seed, stream))
	return float64(binary.BigEndian.Uint64(sum[:8])>>11)/(1<<53) < b.Sample
}

// test is a backtest at work.
type test struct {
	*Backtest
	app   *App
	total int64

	mu         sync.Mutex
	done       int64
	report     BacktestReport
	references map[knownThen]domain.Reference
}

// knownThen is what a decision was made from.
type knownThen struct {
	reference uint64
	catalogue string
}

// customer makes a customer's decisions again, along his history.
func (t *test) customer(ctx context.Context, stream domain.StreamID) error {
	books := domain.NewCustomer(stream.ID())
	var before *domain.Customer // the books before the command whose events are being read
	var command string
	var events, decisions, left int64
	for e, err := range t.app.books.Events(ctx, stream, 1) {
		if err != nil {
			return err
		}
		events++
		if e.CommandID != command {
			command, before = e.CommandID, books.Clone().(*domain.Customer)
		}
		d, err := t.app.books.folding.Decision(e)
		if err != nil { // folding alone would not notice
			return fmt.Errorf("reading what customer %s was told: %w", stream.ID(), err)
		}
		if d != nil && t.wants(d) {
			made, err := t.decide(ctx, before, e, d)
			if err != nil {
				return err
			}
			if made {
				decisions++
			} else {
				left++
			}
		}
		if err := books.Apply(e); err != nil {
			return fmt.Errorf("folding customer %s: %w", stream.ID(), err)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Customers++
	t.report.Events += events
	t.report.Decisions += decisions
	t.report.Left += left
	t.done++
	if t.Progress != nil {
		t.Progress(t.done, t.total)
	}
	return nil
}

func (t *test) wants(d *domain.Decision) bool {
	return (t.From.IsZero() || !d.DecidedAt.Before(t.From)) && (t.To.IsZero() || d.DecidedAt.Before(t.To))
}

// decide makes one decision again. It answers false for one that was not made on the books.
func (t *test) decide(ctx context.Context, books *domain.Customer, e *domain.Event, recorded *domain.Decision) (bool, error) {
	if !decidedOnBooks(e) {
		return false, nil
	}
	ref, err := t.reference(ctx, recorded)
	if err != nil {
		return false, err
	}
	d := differing(books, recorded, ref)
	if len(t.Plans) > 0 && !slices.Contains(t.Plans, d.Plan) || len(t.Studios) > 0 && !slices.Contains(t.Studios, d.Studio) {
		return true, nil
	}
	m := domain.Moment{
		Now: recorded.DecidedAt, CommandID: namesake(e.Stream, e.CommandID), Actor: e.Actor, Version: recorded.CustomerVersion,
		Reference: ref,
	}
	would, err := underAnother(books, m, recorded, t.Policy)
	if err != nil {
		return false, fmt.Errorf("making decision %s again: %w", recorded.ID, err)
	}
	d.Seq = e.Seq
	if !d.would(recorded, would) {
		return true, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count(&d)
	if t.Each != nil {
		return true, t.Each(&d)
	}
	return true, nil
}

// decidedOnBooks tells whether a decision was made on the customer's books: a grant made when they could not be read
// was not.
func decidedOnBooks(e *domain.Event) bool {
	data, err := e.Data()
	if err != nil {
		return false
	}
	issued, ok := data.(*domain.LicenseIssued)
	return !ok || issued.Basis != domain.BasisFailOpen
}

func (t *test) reference(ctx context.Context, recorded *domain.Decision) (domain.Reference, error) {
	known := knownThen{recorded.Versions.Reference, recorded.Versions.Catalogue}
	t.mu.Lock()
	ref := t.references[known]
	t.mu.Unlock()
	if ref != nil {
		return ref, nil
	}
	ref, err := t.app.reference.AsKnown(ctx, known.reference, known.catalogue)
	if err != nil {
		return nil, fmt.Errorf("what decision %s was made from: %w", recorded.ID, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.references[known] = ref
	return ref, nil
}

func (t *test) count(d *Difference) {
	kind := d.Kind()
	t.report.Total[kind]++
	for key, by := range map[string]map[string]Tally{d.Rule: t.report.ByRule, d.Plan: t.report.ByPlan, d.Studio: t.report.ByStudio} {
		if key == "" {
			continue
		}
		if by[key] == nil {
			by[key] = Tally{}
		}
		by[key][kind]++
	}
	t.report.example(d, kind)
}

// example keeps the earliest of each kind, so that the report does not depend on the order of the workers.
func (r *BacktestReport) example(d *Difference, kind string) {
	latest, n := -1, 0
	for i := range r.Examples {
		if r.Examples[i].Kind() != kind {
			continue
		}
		n++
		if latest < 0 || compareDifferences(&r.Examples[i], &r.Examples[latest]) > 0 {
			latest = i
		}
	}
	switch {
	case n < examplesPerKind:
		r.Examples = append(r.Examples, *d)
	case compareDifferences(d, &r.Examples[latest]) < 0:
		r.Examples[latest] = *d
	}
}

func compareDifferences(x, y *Difference) int {
	if c := x.DecidedAt.Compare(y.DecidedAt); c != 0 {
		return c
	}
	return strings.Compare(x.Decision, y.Decision)
}

// otherPolicy is the reference with another policy, which was always in force.
type otherPolicy struct {
	domain.Reference
	policy *domain.Policy
}

// Policy is the other one.
func (o otherPolicy) Policy(time.Time) *domain.Policy { return o.policy }

// Versions names everything but the policy, which has none.
func (o otherPolicy) Versions(at time.Time) domain.Versions {
	v := o.Reference.Versions(at)
	v.Policy, v.Plan = 0, 0
	return v
}

var errNotDecided = errors.New("no rule decides this command")

// redecide makes a recorded decision again, on the books that it was made on.
func redecide(books *domain.Customer, m domain.Moment, recorded *domain.Decision) (*domain.Decision, error) {
	r := &recorded.Request
	var verdict domain.Verdict
	var err error
	switch recorded.Command {
	case domain.CommandAcquire:
		verdict, err = books.Acquire(m, acquisition(r))
	case domain.CommandRenew:
		verdict, err = books.Renew(m, domain.RenewRequest{LicenseID: r.LicenseID, Country: r.Country, Trigger: r.Trigger})
	case domain.CommandRegisterDevice:
		verdict, err = books.RegisterDevice(m, domain.RegisterRequest{DeviceID: r.DeviceID, DeviceType: r.DeviceType, Replaces: r.Replaces})
	default:
		return nil, fmt.Errorf("decision %s is on the command %q: %w", recorded.ID, recorded.Command, errNotDecided)
	}
	if err != nil {
		return nil, err //nolint:wrapcheck // both callers say which decision it was
	}
	return verdict.Decision, nil
}

// underAnother makes a recorded decision again under another policy. A licence that this policy would have forgotten by
// then is refused as one that is not there.
func underAnother(books *domain.Customer, m domain.Moment, recorded *domain.Decision, policy *domain.Policy) (*domain.Decision, error) {
	m.Reference = otherPolicy{m.Reference, policy}
	would, err := redecide(books, m, recorded)
	if errors.Is(err, domain.ErrNotFound) {
		return &domain.Decision{ID: recorded.ID, Outcome: domain.OutcomeRefuse, Code: codeForgotten}, nil
	}
	return would, err
}

const codeForgotten = "NOT_FOUND"

// acquisition is what was asked for.
func acquisition(r *domain.Request) domain.AcquireRequest {
	return domain.AcquireRequest{
		DeviceID: r.DeviceID, DeviceType: r.DeviceType, TitleID: r.TitleID, Country: r.Country, ProfileID: r.ProfileID,
		Maturity: r.Maturity, Trigger: r.Trigger, Quality: r.Quality, SizeBytes: r.SizeBytes,
	}
}

// differing is a decision as a difference of it would be told.
func differing(books *domain.Customer, recorded *domain.Decision, ref domain.Reference) Difference {
	d := Difference{
		Decision: recorded.ID, Customer: books.ID(), DecidedAt: recorded.DecidedAt, Command: recorded.Command,
		TitleID: recorded.Request.TitleID, Plan: books.Plan(), Country: recorded.Request.Country, Was: recorded.Outcome, WasCode: recorded.Code,
	}
	if d.Country == "" {
		d.Country = books.Country()
	}
	if d.TitleID == "" && recorded.Request.LicenseID != "" {
		if l, ok := books.License(recorded.Request.LicenseID, ref, recorded.DecidedAt); ok {
			d.TitleID = l.TitleID
		}
	}
	if title, ok := ref.Title(d.TitleID); ok {
		d.Studio = title.Studio
	}
	return d
}

// would fills in what the decision would have been, and tells whether that differs.
func (d *Difference) would(recorded, would *domain.Decision) bool {
	if would == nil || would.Outcome == recorded.Outcome && would.Code == recorded.Code {
		return false
	}
	d.Would, d.WouldCode = would.Outcome, would.Code
	because := would // whose refusal is told of
	if would.Outcome != domain.OutcomeRefuse {
		because = recorded
	}
	for i := range because.Rules {
		if r := &because.Rules[i]; r.Outcome == domain.RuleRefuse {
			d.Rule, d.Source = r.Rule, r.Source
			break
		}
	}
	return true
}
