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
	State       []byte          // domain.Customer.MarshalBinary
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
	var changed customerRows
	saving := saveBeside(ctx, tx, len(streams))
	defer saving.finish()
	for some := range slices.Chunk(streams, savedAtOnce) {
		states := make([]CustomerState, 0, len(some))
		for _, stream := range some {
			state, err := foldCustomer(stream, stored[stream], byStream[stream], &changed)
			if err != nil {
				return err
			}
			states = append(states, state)
		}
		saving.states <- states
	}
	if saving.finish(); saving.err != nil {
		return saving.err
	}
	return changed.save(ctx, tx)
}

// savedAtOnce states are saved together.
const savedAtOnce = 512

// saving saves states while others are folded. Whoever begins it waits for it, and leaves the transaction alone until
// then.
type saving struct {
	states chan []CustomerState
	end    func()
	group  sync.WaitGroup
	err    error // of the goroutine that saves until finish
}

func saveBeside(ctx context.Context, tx CustomersTx, most int) *saving {
	s := &saving{states: make(chan []CustomerState, (most+savedAtOnce-1)/savedAtOnce)} // there is room for all
	s.end = sync.OnceFunc(func() { close(s.states) })
	s.group.Go(func() { // ends with end
		for states := range s.states {
			if s.err == nil {
				s.err = saveStates(ctx, tx, states)
			}
		}
	})
	return s
}

// saveStates turns a panic into an error, as the consumer does with those of its own goroutine.
func saveStates(ctx context.Context, tx CustomersTx, states []CustomerState) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &panicError{value: r}
		}
	}()
	return tx.SaveStates(ctx, states)
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

// foldCustomer folds the events that the stored state lacks.
func foldCustomer(stream domain.StreamID, stored CustomerState, events []*domain.Event, changed *customerRows) (CustomerState, error) {
	customer := domain.NewCustomer(stream.ID())
	if stored.Version > 0 {
		var err error
		if customer, err = stored.Customer(); err != nil {
			return CustomerState{}, err
		}
	}
	for _, e := range events {
		if err := customer.Apply(e); err != nil {
			return CustomerState{}, foldError(e, err)
		}
		if err := changed.note(e); err != nil {
			return CustomerState{}, err
		}
	}
	data, err := customer.MarshalBinary()
	if err != nil {
		return CustomerState{}, fmt.Errorf("encode the state of %s: %w", stream, err)
	}
	last := events[len(events)-1]
	return CustomerState{
		Stream: stream, Version: last.Seq, Position: last.Position, RecordedAt: last.RecordedAt,
		FoldVersion: domain.FoldVersion, State: data,
	}, nil
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
	state, err := domain.RestoreAggregate(s.Stream, s.FoldVersion, s.State)
	if err != nil {
		return nil, fmt.Errorf("read the state of %s at %d: %w", s.Stream, s.Version, err)
	}
	customer, ok := state.(*domain.Customer)
	if !ok {
		return nil, fmt.Errorf("%s is no customer", s.Stream)
	}
	return customer, nil
}

// customerRows gathers the rows that events change, the last change of each.
type customerRows struct {
	devices    latest[DeviceRow]
	licenses   latest[LicenseRow]
	exceptions latest[ExceptionRow]
}

// latest keeps one row per customer and id, in the order in which they first came.
type latest[R any] struct {
	at   map[rowKey]int
	rows []R
}

type rowKey struct {
	stream domain.StreamID
	id     string
}

func (l *latest[R]) set(stream domain.StreamID, id string, row R) {
	if l.at == nil {
		l.at = make(map[rowKey]int)
	}
	if i, ok := l.at[rowKey{stream, id}]; ok {
		l.rows[i] = row
		return
	}
	l.at[rowKey{stream, id}] = len(l.rows)
	l.rows = append(l.rows, row)
}

// note takes down what an event brings into being.
func (c *customerRows) note(e *domain.Event) error {
	switch e.Type {
	case issuedType, registeredType, exceptionType:
	default:
		return nil
	}
	data, err := e.Data()
	if err != nil {
		return &PoisonError{Event: e, Err: err}
	}
	switch p := data.(type) {
	case *domain.LicenseIssued:
		c.licenses.set(e.Stream, p.LicenseID, LicenseRow{
			Stream: e.Stream, LicenseID: p.LicenseID, DeviceID: p.DeviceID, TitleID: p.TitleID, Seq: e.Seq,
		})
	case *domain.DeviceRegistered:
		c.devices.set(e.Stream, p.DeviceID, DeviceRow{
			Stream: e.Stream, DeviceID: p.DeviceID, Type: p.DeviceType, Family: p.DeviceFamily, Seq: e.Seq,
		})
	case *domain.ExceptionGranted:
		c.exceptions.set(e.Stream, p.ExceptionID, ExceptionRow{Stream: e.Stream, ExceptionID: p.ExceptionID, Code: p.Code, Seq: e.Seq})
	}
	return nil
}

func (c *customerRows) save(ctx context.Context, tx CustomersTx) error {
	if len(c.devices.rows) > 0 {
		if err := tx.SaveDevices(ctx, c.devices.rows); err != nil {
			return err
		}
	}
	if len(c.licenses.rows) > 0 {
		if err := tx.SaveLicenses(ctx, c.licenses.rows); err != nil {
			return err
		}
	}
	if len(c.exceptions.rows) > 0 {
		return tx.SaveExceptions(ctx, c.exceptions.rows)
	}
	return nil
}

var (
	issuedType     = (*domain.LicenseIssued)(nil).EventType()
	registeredType = (*domain.DeviceRegistered)(nil).EventType()
	exceptionType  = (*domain.ExceptionGranted)(nil).EventType()
)
