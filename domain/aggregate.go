package domain

import "time"

// FoldVersion is the version of the fold: of what Apply makes of events. A snapshot of another version is ignored.
const FoldVersion = 1

// Aggregate is a stream's folded state. Folding is pure: the same events give the same state, in every process and at
// any time, so no clock is read and nothing depends on the order of a map.
type Aggregate interface {
	// Apply folds one event, the one after the last. It returns ErrUnknownEventType or ErrFutureVersion (wrapped) for
	// an event this program is too old for, and leaves the state unchanged when it fails.
	Apply(*Event) error
	// Clone is an independent copy.
	Clone() Aggregate
	// AppendBinary appends the state to b, encoded for a snapshot: equal states give equal bytes.
	AppendBinary(b []byte) ([]byte, error)
	// Size is about how many bytes of memory the state holds.
	Size() int
}

// Moment is what a decision is made with, besides the state: handed in, so that it can be made again.
type Moment struct {
	Now       time.Time // UTC, microseconds: becomes decided_at and recorded_at
	CommandID string    // that ids are derived from: the owner of the stream, a slash, the command's id; unlike any other's
	Actor     Actor
	Version   uint64 // the stream's seq before this decision
	Reference Reference
}

// Reference is what is decided about titles, plans, studios and device types for everyone, as this process knows it.
// It never changes once handed out: a newer one is another value.
type Reference interface {
	// Policy is the policy document in force at a moment.
	Policy(at time.Time) *Policy
	// DeviceTypes is the device type document in force at a moment.
	DeviceTypes(at time.Time) *DeviceTypes
	// Title looks a playable or a series up in the catalogue.
	Title(id string) (Title, bool)
	// Studio tells whether the catalogue has a title of a studio.
	Studio(name string) bool
	// WithdrawnFrom tells from when a title is withdrawn in a country, if it is.
	WithdrawnFrom(title, country string) (time.Time, bool)
	// Versions names what the above answers come from; Policy, Plan and DeviceTypes are those in force at the moment.
	Versions(at time.Time) Versions
}

// Verdict is what came of deciding one command.
type Verdict struct {
	Events   []NewEvent // to be recorded, all or none; none: nothing changes
	Decision *Decision  // for commands that the rules decide
	Repeats  uint64     // seq of the recorded refusal that answers this one too, when Events is empty for that reason

	// Remaining is how many licences did not fit: the same command, given again under an id derived from this one, ends
	// more of them. 0 but for a customer with hundreds of active licences who is revoked as a whole.
	Remaining int
}

// NewEvent is an event that a decision wants recorded.
type NewEvent struct {
	Payload    Payload
	OccurredAt time.Time // zero: the moment of the decision
	Causation  string
}
