package query

import (
	"context"
	"fmt"
	"iter"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// Books is the event store: the authoritative way. It is command.Books, or whatever reads streams as carefully.
type Books interface {
	// Events are a stream's events from a seq on, in order, to the last one that is in the log, as a linearizable read.
	Events(ctx context.Context, stream domain.StreamID, from uint64) iter.Seq2[*domain.Event, error]
}

// CustomersModel is the read model of the folded states.
type CustomersModel interface {
	Versioned
	// State is a customer's state, and whether there is one.
	State(ctx context.Context, customer string) (projector.CustomerState, bool, error)
	// StatesAfter returns states in order of stream, after the given one.
	StatesAfter(ctx context.Context, after domain.StreamID, limit int) ([]projector.CustomerState, error)
	// StatesWithTitle is the same for customers who were ever issued a licence for the title.
	StatesWithTitle(ctx context.Context, title string, after domain.StreamID, limit int) ([]projector.CustomerState, error)
	// Things are the customers, devices, licences and exceptions that have the id, at most limit.
	Things(ctx context.Context, id string, limit int) ([]Thing, error)
	// ThingsBehind are the customers and devices that have the pseudonym.
	ThingsBehind(ctx context.Context, pseudonym string) ([]Thing, error)
}

// Thing is a customer or something of a customer.
type Thing struct {
	Kind     string // customer, device, license, exception
	Customer string
	DeviceID string // of devices and licences
	TitleID  string // of licences
}

// books are a customer's folded books at a moment, and what is needed to show them.
type books struct {
	Made
	customer *domain.Customer
	ref      domain.Reference
	at       time.Time
	titles   string // version of the catalogue that the last of the decisions was made from
}

// openBooks folds or loads a customer's books. at: zero is now; a past moment is folded from the events that were
// recorded by then. It returns domain.ErrNotFound (wrapped) for a customer without history.
func (p *Ports) openBooks(ctx context.Context, customer string, c Consistency, at time.Time) (books, error) {
	if p.Reference == nil || p.Clock == nil {
		return books{}, fmt.Errorf("nothing here knows policies and titles: %w", ErrUnavailable)
	}
	var b books
	var err error
	switch {
	case !at.IsZero():
		b, err = p.booksAsOf(ctx, customer, c, at.UTC())
	case c.Mode == Authoritative:
		b, err = p.authoritative(ctx, customer, c)
	default:
		b, err = p.projected(ctx, customer, c)
	}
	if err != nil {
		return books{}, err
	}
	if b.Version == 0 {
		return books{}, fmt.Errorf("customer %s: %w", customer, domain.ErrNotFound)
	}
	return b, nil
}

func (p *Ports) projected(ctx context.Context, customer string, c Consistency) (books, error) {
	if p.Customers == nil {
		return books{}, fmt.Errorf("no read model of customers here: %w", ErrUnavailable)
	}
	if err := p.wait(ctx, c, "customers", p.Customers, domain.CustomerStream(customer)); err != nil {
		return books{}, err
	}
	stored, found, err := p.Customers.State(ctx, customer)
	if err != nil || !found {
		return books{}, err
	}
	b := books{Made: madeFrom(stored.Version, stored.Position, Projected)}
	if b.customer, err = stored.Customer(); err != nil {
		return books{}, err
	}
	return p.atNow(ctx, b)
}

func (p *Ports) authoritative(ctx context.Context, customer string, c Consistency) (books, error) {
	if p.Books == nil {
		return books{}, fmt.Errorf("no event store here: %w", ErrUnavailable)
	}
	b, err := fold(customer, p.Books.Events(ctx, domain.CustomerStream(customer), 1), time.Time{}, Authoritative)
	if err == nil {
		err = p.reached(ctx, c, b.Made, domain.CustomerStream(customer))
	}
	if err != nil {
		return books{}, err
	}
	return p.atNow(ctx, b)
}

func (p *Ports) atNow(ctx context.Context, b books) (books, error) {
	var err error
	b.at = p.Clock().UTC().Truncate(time.Microsecond)
	b.ref, err = p.Reference.Now(ctx)
	return b, err
}

// booksAsOf folds the events that were recorded by a moment, with what was known by then of policies and withdrawals.
func (p *Ports) booksAsOf(ctx context.Context, customer string, c Consistency, at time.Time) (books, error) {
	if at.After(p.Clock()) {
		return books{}, fieldError("at", "is in the future")
	}
	var b books
	var err error
	if c.Mode == Authoritative || p.Timeline == nil {
		if p.Books == nil {
			return books{}, fmt.Errorf("no event store here: %w", ErrUnavailable)
		}
		b, err = fold(customer, p.Books.Events(ctx, domain.CustomerStream(customer), 1), at, Authoritative)
	} else {
		if err := p.wait(ctx, c, "timeline", p.Timeline, domain.CustomerStream(customer)); err != nil {
			return books{}, err
		}
		b, err = fold(customer, timelineEvents(ctx, p.Timeline, customer), at, Projected)
	}
	if err == nil {
		err = p.reached(ctx, c, b.Made, domain.CustomerStream(customer)) // by then, whatever came later
	}
	if err != nil {
		return books{}, err
	}
	b.at = at
	b.ref, err = p.Reference.KnownAt(ctx, at, b.titles)
	return b, err
}

// fold folds events up to those recorded at a moment; the zero moment is no bound.
func fold(customer string, events iter.Seq2[*domain.Event, error], until time.Time, mode string) (books, error) {
	b := books{customer: domain.NewCustomer(customer), Made: Made{Consistency: mode}}
	for e, err := range events {
		if err != nil {
			return books{}, err
		}
		if !until.IsZero() && e.RecordedAt.After(until) {
			break
		}
		if err := b.customer.Apply(e); err != nil {
			return books{}, fmt.Errorf("fold customer %s: %w", customer, err)
		}
		b.Made = madeFrom(e.Seq, e.Position, mode)
		if e.Versions.Catalogue != "" {
			b.titles = e.Versions.Catalogue
		}
	}
	return b, nil
}

// timelineEvents are a customer's events as the timeline has them.
func timelineEvents(ctx context.Context, model TimelineModel, customer string) iter.Seq2[*domain.Event, error] {
	return func(yield func(*domain.Event, error) bool) {
		page := TimelinePage{Customer: customer, Oldest: true, Limit: 500}
		for {
			rows, err := model.TimelinePage(ctx, page)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, e := range rows.Events {
				if !yield(e, nil) {
					return
				}
				page.AfterSeq = e.Seq
			}
			if len(rows.Events) < page.Limit {
				return
			}
		}
	}
}
