package domain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// Event types are explicit strings and schema versions explicit numbers, so that renaming a Go type or field never
// changes what is on disk. Writing uses the newest version of a type; reading takes every version there ever was.

// codec is what is known about one event type.
type codec struct {
	version int // the newest schema version
	empty   func() Payload
}

func of[T any, P interface {
	*T
	Payload
}](version int) codec {
	return codec{version: version, empty: func() Payload { return P(new(T)) }}
}

// codecFor finds what is known about an event type.
func codecFor(typ string) (codec, bool) {
	switch typ {
	case "LicenseIssued":
		return of[LicenseIssued](1), true
	case "LicenseReissued":
		return of[LicenseReissued](1), true
	case "LicenseRenewed":
		return of[LicenseRenewed](1), true
	case "LicenseDenied":
		return of[LicenseDenied](1), true
	case "LicenseReleased":
		return of[LicenseReleased](1), true
	case "ReleaseConfirmed":
		return of[ReleaseConfirmed](1), true
	case "LicenseRevoked":
		return of[LicenseRevoked](1), true
	case "LicenseExpired":
		return of[LicenseExpired](1), true
	case "PlaybackStarted":
		return of[PlaybackStarted](2), true
	case "PlaybackStopped":
		return of[PlaybackStopped](1), true
	case "ContentDownloaded":
		return of[ContentDownloaded](1), true
	case "ContentRenewed":
		return of[ContentRenewed](1), true
	case "ContentPlayed":
		return of[ContentPlayed](1), true
	case "DeviceRegistered":
		return of[DeviceRegistered](1), true
	case "DeviceRemoved":
		return of[DeviceRemoved](1), true
	case "DeviceBlocked":
		return of[DeviceBlocked](1), true
	case "DeviceUnblocked":
		return of[DeviceUnblocked](1), true
	case "ExceptionGranted":
		return of[ExceptionGranted](1), true
	case "ExceptionUsed":
		return of[ExceptionUsed](1), true
	case "ExceptionWithdrawn":
		return of[ExceptionWithdrawn](1), true
	case "PlanChanged":
		return of[PlanChanged](1), true
	case "MembershipChanged":
		return of[MembershipChanged](1), true
	case "GrantReconciled":
		return of[GrantReconciled](1), true
	case "TitleWithdrawn":
		return of[TitleWithdrawn](1), true
	case "PolicyPublished":
		return of[PolicyPublished](1), true
	}
	return codec{}, false
}

// EventTypes are all event types, in alphabetical order.
func EventTypes() []string {
	all := []Payload{
		(*LicenseIssued)(nil), (*LicenseReissued)(nil), (*LicenseRenewed)(nil), (*LicenseDenied)(nil), (*LicenseReleased)(nil),
		(*ReleaseConfirmed)(nil), (*LicenseRevoked)(nil), (*LicenseExpired)(nil), (*PlaybackStarted)(nil), (*PlaybackStopped)(nil),
		(*ContentDownloaded)(nil), (*ContentRenewed)(nil), (*ContentPlayed)(nil), (*DeviceRegistered)(nil), (*DeviceRemoved)(nil),
		(*DeviceBlocked)(nil), (*DeviceUnblocked)(nil), (*ExceptionGranted)(nil), (*ExceptionUsed)(nil), (*ExceptionWithdrawn)(nil),
		(*PlanChanged)(nil), (*MembershipChanged)(nil), (*GrantReconciled)(nil), (*TitleWithdrawn)(nil), (*PolicyPublished)(nil),
	}
	types := make([]string, len(all))
	for i, p := range all {
		types[i] = p.EventType()
	}
	slices.Sort(types)
	return types
}

// SchemaVersion is the newest schema version of an event type, 0 for an unknown type.
func SchemaVersion(typ string) int {
	c, _ := codecFor(typ)
	return c.version
}

// The explicit type strings.

func (*LicenseIssued) EventType() string      { return "LicenseIssued" }
func (*LicenseReissued) EventType() string    { return "LicenseReissued" }
func (*LicenseRenewed) EventType() string     { return "LicenseRenewed" }
func (*LicenseDenied) EventType() string      { return "LicenseDenied" }
func (*LicenseReleased) EventType() string    { return "LicenseReleased" }
func (*ReleaseConfirmed) EventType() string   { return "ReleaseConfirmed" }
func (*LicenseRevoked) EventType() string     { return "LicenseRevoked" }
func (*LicenseExpired) EventType() string     { return "LicenseExpired" }
func (*PlaybackStarted) EventType() string    { return "PlaybackStarted" }
func (*PlaybackStopped) EventType() string    { return "PlaybackStopped" }
func (*ContentDownloaded) EventType() string  { return "ContentDownloaded" }
func (*ContentRenewed) EventType() string     { return "ContentRenewed" }
func (*ContentPlayed) EventType() string      { return "ContentPlayed" }
func (*DeviceRegistered) EventType() string   { return "DeviceRegistered" }
func (*DeviceRemoved) EventType() string      { return "DeviceRemoved" }
func (*DeviceBlocked) EventType() string      { return "DeviceBlocked" }
func (*DeviceUnblocked) EventType() string    { return "DeviceUnblocked" }
func (*ExceptionGranted) EventType() string   { return "ExceptionGranted" }
func (*ExceptionUsed) EventType() string      { return "ExceptionUsed" }
func (*ExceptionWithdrawn) EventType() string { return "ExceptionWithdrawn" }
func (*PlanChanged) EventType() string        { return "PlanChanged" }
func (*MembershipChanged) EventType() string  { return "MembershipChanged" }
func (*GrantReconciled) EventType() string    { return "GrantReconciled" }
func (*TitleWithdrawn) EventType() string     { return "TitleWithdrawn" }
func (*PolicyPublished) EventType() string    { return "PolicyPublished" }

// EncodePayload gives the bytes to record, in the newest schema version of the type. Equal payloads give equal bytes.
func EncodePayload(p Payload) (typ string, version int, raw []byte, err error) {
	c, ok := codecFor(p.EventType())
	if !ok {
		return "", 0, nil, fmt.Errorf("encoding %q: %w", p.EventType(), ErrUnknownEventType)
	}
	if w, ok := p.(walker); ok {
		if raw, ok := writeWalked(w); ok {
			return p.EventType(), c.version, raw, nil
		}
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // the bytes are read by programs, and "Love & Death" by people
	if err := encoder.Encode(p); err != nil {
		return "", 0, nil, fmt.Errorf("encoding %s: %w", p.EventType(), err)
	}
	return p.EventType(), c.version, bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// DecodePayload reads recorded bytes of any schema version that there ever was. It returns ErrUnknownEventType or
// ErrFutureVersion (wrapped) for what a newer program wrote.
func DecodePayload(typ string, version int, raw []byte) (Payload, error) {
	return decodePayload(typ, version, raw, false)
}

func decodePayload(typ string, version int, raw []byte, toFold bool) (Payload, error) {
	c, ok := codecFor(typ)
	switch {
	case !ok:
		return nil, fmt.Errorf("%q: %w", typ, ErrUnknownEventType)
	case version > c.version:
		return nil, fmt.Errorf("%s in schema version %d, this program reads up to %d: %w", typ, version, c.version, ErrFutureVersion)
	case version < 1:
		return nil, fmt.Errorf("%s in schema version %d: versions begin at 1", typ, version)
	}
	raw, err := upcast(typ, version, c.version, raw)
	if err != nil {
		return nil, err
	}
	if string(bytes.TrimSpace(raw)) == "null" {
		return nil, fmt.Errorf("reading %s: there is nothing", typ) // else it would be read as a payload of empty fields
	}
	p := c.empty()
	if w, ok := p.(walker); ok {
		if readWalked(raw, w, toFold) {
			return p, nil
		}
		p = c.empty()
	}
	if err := json.Unmarshal(raw, p); err != nil {
		return nil, fmt.Errorf("reading %s: %w", typ, err)
	}
	return p, nil
}

// SetData makes p the event's payload: its type, its newest schema version, its bytes, and the decoded form, so that
// who folds the event at once need not read the bytes back.
func (e *Event) SetData(p Payload) error {
	typ, version, raw, err := EncodePayload(p)
	if err != nil {
		return err
	}
	e.Type, e.SchemaVersion, e.Payload, e.data, e.toFold = typ, version, raw, p, false
	return nil
}

// SetDataUpTo is SetData for readers that know the type up to schema version newest only: an older version is recorded
// as a writer of that version would have, and Data gives what everybody will read from it. ErrFutureVersion (wrapped):
// no version so old can be written.
func (e *Event) SetDataUpTo(p Payload, newest int) error {
	typ, version, raw, err := EncodePayload(p)
	if err != nil {
		return err
	}
	if newest >= version {
		e.Type, e.SchemaVersion, e.Payload, e.data, e.toFold = typ, version, raw, p, false
		return nil
	}
	if raw, err = downcast(typ, version, newest, raw); err != nil {
		return err
	}
	read, err := DecodePayload(typ, newest, raw)
	if err != nil {
		return err
	}
	e.Type, e.SchemaVersion, e.Payload, e.data, e.toFold = typ, newest, raw, read, false
	return nil
}
