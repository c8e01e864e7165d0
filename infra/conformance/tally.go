package conformance

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"carryon/command"
	"carryon/domain"
)

// Tally is a small domain of the suites' own, so that they test the writer and the store and not the rules: it adds
// amounts up and keeps the number of its events. It refuses what would make it negative, and repeats that refusal while
// nothing else happens.
type Tally struct {
	events  uint64
	sum     int64
	refused uint64 // seq of the refusal that still stands, 0: none
}

// The tally's events.
type (
	added struct {
		Amount int64  `json:"amount"`
		Filler string `json:"filler,omitempty"` // makes the payload as large as a test wants it
	}
	refused struct {
		Amount   int64           `json:"amount"`
		Decision domain.Decision `json:"decision"`
	}
	// unfoldable can't be folded.
	unfoldable struct{}
)

func (added) EventType() string      { return "Added" }
func (refused) EventType() string    { return "Refused" }
func (unfoldable) EventType() string { return "Unfoldable" }

var errUnfoldable = errors.New("can't be folded")

// Apply folds an event.
func (t *Tally) Apply(e *domain.Event) error {
	if e.Seq != t.events+1 {
		return fmt.Errorf("event %d can't follow event %d", e.Seq, t.events)
	}
	switch e.Type {
	case "Added":
		var p added
		if err := json.Unmarshal(e.Payload, &p); err != nil {
			return fmt.Errorf("event %d: %w", e.Seq, err)
		}
		t.sum, t.refused = t.sum+p.Amount, 0
	case "Refused":
		t.refused = e.Seq
	case "Unfoldable":
		return errUnfoldable
	default:
		return fmt.Errorf("%q: %w", e.Type, domain.ErrUnknownEventType)
	}
	t.events++
	return nil
}

// Sum is what the amounts add up to.
func (t *Tally) Sum() int64 { return t.sum }

// Clone copies the tally.
func (t *Tally) Clone() domain.Aggregate { c := *t; return &c }

// Size is that of the struct.
func (t *Tally) Size() int { return 24 }

// AppendBinary appends the tally.
func (t *Tally) AppendBinary(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint64(b, t.events)
	b = binary.BigEndian.AppendUint64(b, uint64(t.sum))
	return binary.BigEndian.AppendUint64(b, t.refused), nil
}

// TallyFolding is the writer's view of tallies.
func TallyFolding() command.Folding {
	return command.Folding{
		Version: 1,
		Empty:   func(domain.StreamID) (domain.Aggregate, error) { return &Tally{}, nil },
		Restore: func(stream domain.StreamID, data string) (domain.Aggregate, error) {
			if len(data) != 24 {
				return nil, fmt.Errorf("snapshot of %s has %d bytes", stream, len(data))
			}
			b := []byte(data)
			return &Tally{
				events: binary.BigEndian.Uint64(b), sum: int64(binary.BigEndian.Uint64(b[8:])), refused: binary.BigEndian.Uint64(b[16:]),
			}, nil
		},
		Record: func(e *domain.Event, p domain.Payload) (err error) {
			e.Type, e.SchemaVersion = p.EventType(), 1
			e.Payload, err = json.Marshal(p)
			return err
		},
		Decision: func(e *domain.Event) (*domain.Decision, error) {
			if e.Type != "Refused" {
				return nil, nil
			}
			var p refused
			err := json.Unmarshal(e.Payload, &p)
			return &p.Decision, err
		},
	}
}

// Add adds an amount to a Tally, in as many events as wanted.
type Add struct {
	Amount int64
	Events int    // 0: one
	Filler string // makes the payloads as large as wanted
}

// Decide is pure.
func (a Add) Decide(state domain.Aggregate, m domain.Moment) (domain.Verdict, error) {
	t := state.(*Tally)
	if t.events != m.Version {
		return domain.Verdict{}, fmt.Errorf("decided on version %d of a state with %d events", m.Version, t.events)
	}
	if t.sum+a.Amount*int64(max(1, a.Events)) < 0 {
		decision := &domain.Decision{ID: domain.DecisionID(m.CommandID), Command: "add", Outcome: domain.OutcomeRefuse, Code: "NEGATIVE",
			DecidedAt: m.Now, CustomerVersion: m.Version}
		if t.refused > 0 {
			return domain.Verdict{Repeats: t.refused, Decision: decision}, nil
		}
		return domain.Verdict{Events: []domain.NewEvent{{Payload: refused{a.Amount, *decision}}}, Decision: decision}, nil
	}
	if a.Amount == 0 {
		return domain.Verdict{}, nil
	}
	fresh := domain.NewEvent{Payload: added{a.Amount, a.Filler}}
	return domain.Verdict{Events: slices.Repeat([]domain.NewEvent{fresh}, max(1, a.Events))}, nil
}

// Spoil decides on an event that no Tally can fold.
type Spoil struct{}

// Decide is pure.
func (Spoil) Decide(domain.Aggregate, domain.Moment) (domain.Verdict, error) {
	return domain.Verdict{Events: []domain.NewEvent{{Payload: unfoldable{}}}}, nil
}

// NoReference is reference data that says nothing: tallies do not look at it.
type NoReference struct{}

func (NoReference) Policy(time.Time) *domain.Policy           { return nil }
func (NoReference) DeviceTypes(time.Time) *domain.DeviceTypes { return nil }
func (NoReference) Title(string) (domain.Title, bool)         { return domain.Title{}, false }
func (NoReference) Studio(string) bool                        { return false }
func (NoReference) WithdrawnFrom(string, string) (time.Time, bool) {
	return time.Time{}, false
}
func (NoReference) Versions(time.Time) domain.Versions {
	return domain.Versions{Policy: 7, Catalogue: "suite"}
}
