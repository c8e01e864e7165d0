package domain

import (
	"encoding/json"
	"fmt"
	"time"
)

// Position is where an event stands in the shard logs: the shard, the index of the entry in it (1, 2, 3…), and the
// event's place in the entry (0, 1, 2…). The zero Position means "nowhere": indexes begin at 1.
type Position struct {
	Shard int    `json:"shard"`
	Index uint64 `json:"index"`
	Place int    `json:"place"`
}

// String is the form the APIs use: shard:index. The place is left out, because a reader waits for whole entries.
func (p Position) String() string { return fmt.Sprintf("%d:%d", p.Shard, p.Index) }

// Role is what a caller may do.
type Role string

// The roles that a token may carry, and the one that the system acts in by itself.
const (
	RoleDevice   Role = "device"   // a client device: its own customer only
	RoleService  Role = "service"  // billing, catalogue
	RoleSupport  Role = "support"  // customer service: names a reason for every act
	RoleAnalyst  Role = "analyst"  // sees pseudonyms
	RoleOperator Role = "operator" // runs the system
	RoleSystem   Role = "system"   // the system itself: reconciling, expiring
)

// Actor is who did something, and in which role.
type Actor struct {
	ID   string `json:"id"`
	Role Role   `json:"role"`
}

// Versions names the versions of everything a decision was made from, so that it can be made again.
type Versions struct {
	Policy      int    `json:"policy"`       // version of the policy document "default"
	Plan        int    `json:"plan"`         // version of the customer's plan inside it, 0 without a plan
	DeviceTypes int    `json:"device_types"` // version of the policy document "device-types"
	Catalogue   string `json:"catalogue"`    // content hash of the catalogue
	Reference   uint64 `json:"reference"`    // last entry of the reference shard that was known
}

// Event is one recorded event with its envelope. Events are immutable; the payload is the exact bytes that were recorded.
type Event struct {
	ID            string          // unique; derived from the command id and the event's number within the command
	Stream        StreamID        // whose history it belongs to
	Seq           uint64          // 1, 2, 3… within the stream, without holes
	Position      Position        // where it stands in the log; known on reading
	Previous      Position        // where the stream's previous event stands; zero for the first
	Type          string          // explicit, never a Go type name
	SchemaVersion int             // of the payload
	OccurredAt    time.Time       // UTC, microseconds: when it happened in the world (a late play: on the device)
	RecordedAt    time.Time       // UTC, microseconds: when it was decided; never decreases in a shard
	CommandID     string          // the command that caused it
	RequestHash   string          // of that command's body
	Correlation   string          // the request that began it all
	Causation     string          // the event or command that led to this one, where it is not the command
	Actor         Actor           // who, and in which role
	Versions      Versions        // what the decision was made from
	Payload       json.RawMessage // the recorded bytes, in schema version SchemaVersion

	data   Payload // decoded, when known
	toFold bool    // data is what FoldData returns, and may not be whole
}

// Payload is what an event says, in the newest schema version of its type.
type Payload interface {
	// EventType is the explicit type string, as in "LicenseIssued".
	EventType() string
}

// Data is the payload, decoded and, where it was recorded in an older schema version, upcast.
// It returns ErrUnknownEventType or ErrFutureVersion (wrapped) when this program is too old for it.
func (e *Event) Data() (Payload, error) {
	if e.IsDecoded() {
		return e.data, nil
	}
	return e.decoded(false)
}

// FoldData is Data for who folds, or lists events: of the decision that an issue, a renewal or a re-issue carries there may
// be nothing but the id. The rest changes no state, and is most of what there is to decode.
func (e *Event) FoldData() (Payload, error) {
	if e.data != nil {
		return e.data, nil
	}
	return e.decoded(true)
}

func (e *Event) decoded(toFold bool) (Payload, error) {
	data, err := decodePayload(e.Type, e.SchemaVersion, e.Payload, toFold)
	if err != nil {
		return nil, fmt.Errorf("event %s (%s v%d): %w", e.ID, e.Type, e.SchemaVersion, err)
	}
	return data, nil
}

// Decode makes Data answer from memory from now on, where the payload can be decoded. It must not be called while
// others use the event; afterwards any number may share it, and nobody may change what Data returns.
func (e *Event) Decode() {
	if e.IsDecoded() {
		return
	}
	if data, err := e.decoded(false); err == nil {
		e.data, e.toFold = data, false
	}
}

// DecodeToFold is Decode for FoldData alone.
func (e *Event) DecodeToFold() {
	if e.data != nil {
		return
	}
	if data, err := e.decoded(true); err == nil {
		e.data, e.toFold = data, true
	}
}

// IsDecoded tells whether Data answers from memory.
func (e *Event) IsDecoded() bool { return e.data != nil && !e.toFold }
