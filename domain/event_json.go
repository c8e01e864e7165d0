package domain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// The JSON form of an event, for exports and answers: the names of the envelope in the design's words, times as RFC 3339
// in UTC, and the payload as it was recorded, in its own schema version. Names here never change; new ones may be added,
// and a reader skips those that it does not know.

type eventJSON struct {
	ID            string          `json:"id"`
	Stream        StreamID        `json:"stream"`
	Seq           uint64          `json:"seq"`
	Position      Position        `json:"position,omitzero"`
	Previous      Position        `json:"previous,omitzero"` // absent for a stream's first event
	Type          string          `json:"type"`
	SchemaVersion int             `json:"schema_version"`
	OccurredAt    time.Time       `json:"occurred_at"`
	RecordedAt    time.Time       `json:"recorded_at"`
	CommandID     string          `json:"command_id"`
	RequestHash   string          `json:"request_hash,omitempty"`
	Correlation   string          `json:"correlation,omitempty"`
	Causation     string          `json:"causation,omitempty"`
	Actor         Actor           `json:"actor"`
	Versions      Versions        `json:"versions"`
	Payload       json.RawMessage `json:"payload"`
}

// MarshalJSON writes the event in its stable form. The payload is equal to what was recorded as JSON; a json.Encoder
// that escapes HTML may spell its texts in another way.
func (e Event) MarshalJSON() ([]byte, error) {
	if len(e.Payload) == 0 {
		return nil, fmt.Errorf("event %s has no payload", e.ID)
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(&eventJSON{
		ID: e.ID, Stream: e.Stream, Seq: e.Seq, Position: e.Position, Previous: e.Previous, Type: e.Type,
		SchemaVersion: e.SchemaVersion, OccurredAt: e.OccurredAt.UTC(), RecordedAt: e.RecordedAt.UTC(), CommandID: e.CommandID,
		RequestHash: e.RequestHash, Correlation: e.Correlation, Causation: e.Causation, Actor: e.Actor, Versions: e.Versions,
		Payload: e.Payload,
	})
	if err != nil {
		return nil, fmt.Errorf("writing event %s: %w", e.ID, err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// UnmarshalJSON reads what MarshalJSON writes. It leaves the event alone when it fails, as for one without a payload.
// The payload is not decoded: Data does that.
func (e *Event) UnmarshalJSON(data []byte) error {
	var form eventJSON
	if err := json.Unmarshal(data, &form); err != nil {
		return fmt.Errorf("reading an event: %w", err)
	}
	switch {
	case form.Type == "":
		return errors.New("reading an event: type is missing")
	case len(form.Payload) == 0:
		return errors.New("reading an event: payload is missing")
	}
	*e = Event{
		ID: form.ID, Stream: form.Stream, Seq: form.Seq, Position: form.Position, Previous: form.Previous, Type: form.Type,
		SchemaVersion: form.SchemaVersion, OccurredAt: form.OccurredAt.UTC(), RecordedAt: form.RecordedAt.UTC(), CommandID: form.CommandID,
		RequestHash: form.RequestHash, Correlation: form.Correlation, Causation: form.Causation, Actor: form.Actor,
		Versions: form.Versions, Payload: form.Payload,
	}
	return nil
}
