package projector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"carryon/domain"
)

// Customers are the folded states: everything that is shown of a customer is made from one by the domain. Beside the
// state stand rows of devices, licences and exceptions, by which a customer is found. A state belongs to one version of
// the fold: a store of another version is not written to, but built anew.

// Customers is the projection of the customers.
type Customers struct{}

// CustomersTx is what the customers are written through.
type CustomersTx interface {
	Tx
	// States are the states of those streams that have one, all in one question.
	States(ctx context.Context, streams []domain.StreamID) (map[domain.StreamID]CustomerState, error)
	// SaveStates replaces states.
	SaveStates(ctx context.Context, states []CustomerState) error
	// SaveDevices, SaveLicenses and SaveExceptions add rows or replace the ones that have the same customer and id.
	SaveDevices(ctx context.Context, rows []DeviceRow) error
	SaveLicenses(ctx context.Context, rows []LicenseRow) error
	SaveExceptions(ctx context.Context, rows []ExceptionRow) error
}

// CustomerState is a customer's folded state.
type CustomerState struct {
	Stream      domain.StreamID
	Version     uint64          // seq of the last event folded
	Position    domain.Position // of that event
	RecordedAt  time.Time       // of that event
	FoldVersion int             // domain.FoldVersion
	State       []byte          // domain.Customer.AppendBinary
}

// DeviceRow is a device as it was last registered.
type DeviceRow struct {
	Stream   domain.StreamID
	DeviceID string
	Type     string
	Family   string
	Seq      uint64 // of the registration
}

// LicenseRow is a licence as it was issued: what a licence is found by, and what a withdrawal may touch.
type LicenseRow struct {
	Stream    domain.StreamID
	LicenseID string
	DeviceID  string
	TitleID   string
	Seq       uint64 // of the issue
}

// ExceptionRow is something that support has allowed.
type ExceptionRow struct {
	Stream      domain.StreamID
	ExceptionID string
	Code        string
	Seq         uint64
}

// Name is "customers".
func (Customers) Name() string { return "customers" }

// Open decodes what folding needs.
func (Customers) Open(e *domain.Event) { e.DecodeToFold() }

// Apply loads the states of the customers that the events are about, folds, and writes them back.
func (Customers) Apply(ctx context.Context, tx CustomersTx, events []*domain.Event) error {
	byStream, streams := byCustomer(events)
	if len(streams) == 0 {
		return nil
	}
	stored, err := tx.States(ctx, streams)
	if err != nil {
		return err
	}
	if len(streams) <= savedHere {
		folded, err := foldCustomers(streams, stored, byStream)
		if err != nil {
			return err
		}
		return folded.save(ctx, tx)
	}
	saving := saveBeside(ctx, tx, len(streams))
	defer saving.finish()
	for size := savedFirst; len(streams) > 0; size = min(2*size, savedAtOnce) {
		some := streams[:min(size, len(streams))]
		streams = streams[len(some):]
		folded, err := foldCustomers(some, stored, byStream)
		if err != nil {
			return err
		}
		saving.folded <- folded
	}
	saving.finish()
	return saving.err
}

// savedAtOnce customers are saved together; the first of a transaction are few, so that saving begins at once. Few
// customers are saved where they were folded: while commands queue, a goroutine waits for its processor for longer than
// it would save them.
const (
	savedAtOnce = 1024
	savedFirst  = 64
	savedHere   = 256
)

func foldCustomers(streams []domain.StreamID, stored map[domain.StreamID]CustomerState, events map[domain.StreamID][]*domain.Event) (foldedCustomers, error) {
	folded := foldedCustomers{states: make([]CustomerState, 0, len(streams))}
	for _, stream := range streams {
		if err := folded.fold(stream, stored[stream], events[stream]); err != nil {
			return folded, err
		}
	}
	return folded, nil
}

// saving saves customers while others are folded. Whoever begins it waits for it, and leaves the transaction alone until
// then.
type saving struct {
	folded chan foldedCustomers
	end    func()
	group  sync.WaitGroup
	err    error // of the goroutine that saves until finish
}

func saveBeside(ctx context.Context, tx CustomersTx, most int) *saving {
	const smaller = 5 // groups, the last of all among them
	s := &saving{folded: make(chan foldedCustomers, most/savedAtOnce+smaller)}
	s.end = sync.OnceFunc(func() { close(s.folded) })
	s.group.Go(func() { // ends with end
		for folded := range s.folded {
			if s.err == nil {
				s.err = folded.save(ctx, tx)
			}
		}
	})
	return s
}

// finish waits until nothing is saved any more; then err tells how it went.
func (s *saving) finish() {
	s.end()
	s.group.Wait()
}

// byCustomer groups the events of customers' streams, each in order; the streams are in order, too.
func byCustomer(events []*domain.Event) (map[domain.StreamID][]*domain.Event, []domain.StreamID) {
	byStream := make(map[domain.StreamID][]*domain.Event)
	var streams []domain.StreamID
	for _, e := range events {
		if e.Stream.Kind() != domain.KindCustomer {
			continue
		}
		if byStream[e.Stream] == nil {
			streams = append(streams, e.Stream)
		}
		byStream[e.Stream] = append(byStream[e.Stream], e)
	}
	slices.Sort(streams)
	return byStream, streams
}

// foldedCustomers are customers' new states, and the rows that came into being with them, the last of each.
type foldedCustomers struct {
	states     []CustomerState
	devices    []DeviceRow
	licenses   []LicenseRow
	exceptions []ExceptionRow
}

// fold folds the events that the stored state lacks.
func (f *foldedCustomers) fold(stream domain.StreamID, stored CustomerState, events []*domain.Event) error {
	customer := domain.NewCustomer(stream.ID())
	if stored.Version > 0 {
		var err error
		if customer, err = stored.Customer(); err != nil {
			return err
		}
	}
	var changed customerRows
	for _, e := range events {
		if err := customer.Apply(e); err != nil {
			return foldError(e, err)
		}
		if err := changed.note(e); err != nil {
			return err
		}
	}
	data, err := customer.AppendBinary(nil)
	if err != nil {
		return fmt.Errorf("encode the state of %s: %w", stream, err)
	}
	last := events[len(events)-1]
	f.states = append(f.states, CustomerState{
		Stream: stream, Version: last.Seq, Position: last.Position, RecordedAt: last.RecordedAt,
		FoldVersion: domain.FoldVersion, State: data,
	})
	f.devices = append(f.devices, changed.devices.rows...)
	f.licenses = append(f.licenses, changed.licenses.rows...)
	f.exceptions = append(f.exceptions, changed.exceptions.rows...)
	return nil
}

// save writes them. It turns a panic into an error, as the consumer does with those of its own goroutine.
func (f *foldedCustomers) save(ctx context.Context, tx CustomersTx) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &panicError{value: r}
		}
	}()
	if err := tx.SaveStates(ctx, f.states); err != nil {
		return err
	}
	if len(f.devices) > 0 {
		if err := tx.SaveDevices(ctx, f.devices); err != nil {
			return err
		}
	}
	if len(f.licenses) > 0 {
		if err := tx.SaveLicenses(ctx, f.licenses); err != nil {
			return err
		}
	}
	if len(f.exceptions) > 0 {
		return tx.SaveExceptions(ctx, f.exceptions)
	}
	return nil
}

// foldError tells an event that can't be folded.
func foldError(e *domain.Event, err error) error {
	if errors.Is(err, domain.ErrUnknownEventType) || errors.Is(err, domain.ErrFutureVersion) {
		return &PoisonError{Event: e, Err: err}
	}
	return &PoisonError{Event: e, Err: fmt.Errorf("fold event %d of %s: %w", e.Seq, e.Stream, err)}
}

// Customer decodes the state. A state of another fold version is an error: the model must be built anew.
func (s CustomerState) Customer() (*domain.Customer, error) {
	state, err := domain.RestoreAggregate(s.Stream, s.FoldVersion, string(s.State))
	if err != nil {
		return nil, fmt.Errorf("read the state of %s at %d: %w", s.Stream, s.Version, err)
	}
	customer, ok := state.(*domain.Customer)
	if !ok {
		return nil, fmt.Errorf("%s is no customer", s.Stream)
	}
	return customer, nil
}

// customerRows gathers the rows of one customer that events change, the last change of each.
type customerRows struct {
	devices    latest[DeviceRow]
	licenses   latest[LicenseRow]
	exceptions latest[ExceptionRow]
}

// latest keeps one row per id, in the order in which they first came.
type latest[R any] struct {
	at   map[string]int // nil while there are few
	ids  []string
	rows []R
}

// fewRows are found by looking at each.
const fewRows = 16

func (l *latest[R]) set(id string, row R) {
	i, known := l.find(id)
	if known {
		l.rows[i] = row
		return
	}
	l.ids, l.rows = append(l.ids, id), append(l.rows, row)
	switch n := len(l.rows); {
	case l.at != nil:
		l.at[id] = n - 1
	case n == fewRows:
		l.at = make(map[string]int, 4*fewRows)
		for i, id := range l.ids {
			l.at[id] = i
		}
	}
}

func (l *latest[R]) find(id string) (int, bool) {
	if l.at != nil {
		i, known := l.at[id]
		return i, known
	}
	i := slices.Index(l.ids, id)
	return i, i >= 0
}

// note takes down what an event brings into being.
func (c *customerRows) note(e *domain.Event) error {
	switch e.Type {
	case issuedType, registeredType, exceptionType:
	default:
		return nil
	}
	data, err := e.FoldData()
	if err != nil {
		return &PoisonError{Event: e, Err: err}
	}
	switch p := data.(type) {
	case *domain.LicenseIssued:
		c.licenses.set(p.LicenseID, LicenseRow{
			Stream: e.Stream, LicenseID: p.LicenseID, DeviceID: p.DeviceID, TitleID: p.TitleID, Seq: e.Seq,
		})
	case *domain.DeviceRegistered:
		c.devices.set(p.DeviceID, DeviceRow{
			Stream: e.Stream, DeviceID: p.DeviceID, Type: p.DeviceType, Family: p.DeviceFamily, Seq: e.Seq,
		})
	case *domain.ExceptionGranted:
		c.exceptions.set(p.ExceptionID, ExceptionRow{Stream: e.Stream, ExceptionID: p.ExceptionID, Code: p.Code, Seq: e.Seq})
	}
	return nil
}

var (
	issuedType     = (*domain.LicenseIssued)(nil).EventType()
	registeredType = (*domain.DeviceRegistered)(nil).EventType()
	exceptionType  = (*domain.ExceptionGranted)(nil).EventType()
)
