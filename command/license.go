package command

import (
	"encoding/json"
	"fmt"
	"time"

	"carryon/domain"
)

// SignedLicense is a licence that a device can check offline against the published keys.
//
// To verify one: find the key with KeyID among the published keys; check Signature as Ed25519 (RFC 8032) over Payload,
// the bytes as they came, before reading them; then read Payload as JSON (LicensePayload), and refuse it unless
// "version" is 1, "key_id" is KeyID, and "customer" and "device_id" are the device's own. docs/licence-format.md says
// it step by step.
type SignedLicense struct {
	KeyID     string
	Payload   []byte // the exact bytes that were signed: JSON
	Signature []byte // Ed25519, 64 bytes
}

// LicensePayloadVersion is the version of the payload's form. A device refuses a version that it does not know.
const LicensePayloadVersion = 1

// LicensePayload is what a licence says. Times are UTC in RFC 3339 with up to six decimals, durations whole seconds; a
// part that is absent does not limit.
//
// The licence ends at the earliest of: starts_at + terms.rental_duration while it was never played; starts_at +
// terms.license_duration; first play + terms.playback_duration; window_end. expires_at is that moment as far as the
// server knew it at the time of signing: the device still has to count from its own first play.
type LicensePayload struct {
	Version       int          `json:"version"`
	KeyID         string       `json:"key_id"`
	LicenseID     string       `json:"license_id"`
	Serial        uint64       `json:"serial"` // of two licences with one id, the one with the greater serial counts; 0 without the books
	Customer      string       `json:"customer"`
	DeviceID      string       `json:"device_id"`
	TitleID       string       `json:"title_id"`
	ProfileID     string       `json:"profile_id,omitempty"`
	Quality       string       `json:"quality,omitempty"`
	Basis         string       `json:"basis"` // books; fail_open for a short one that was given in an emergency
	Persistent    bool         `json:"persistent"`
	Terms         domain.Terms `json:"terms"`
	IssuedAt      time.Time    `json:"issued_at"`
	StartsAt      time.Time    `json:"starts_at"` // of the issue or the last renewal: rental and licence life run from here
	WindowEnd     *time.Time   `json:"window_end,omitempty"`
	ExpiresAt     *time.Time   `json:"expires_at,omitempty"`
	LimitedBy     string       `json:"limited_by,omitempty"` // rental, playback, license, window
	PlaybackAgain bool         `json:"playback_again,omitempty"`
}

var (
	typeIssued   = (&domain.LicenseIssued{}).EventType()
	typeReissued = (&domain.LicenseReissued{}).EventType()
	typeRenewed  = (&domain.LicenseRenewed{}).EventType()
)

// licensePayload is what the licence says that an event grants; false for an event that grants none. It is derived
// from the recorded event alone.
func licensePayload(e *domain.Event) (LicensePayload, bool, error) {
	if e.Type != typeIssued && e.Type != typeReissued && e.Type != typeRenewed {
		return LicensePayload{}, false, nil
	}
	data, err := e.Data()
	if err != nil {
		return LicensePayload{}, false, err
	}
	p := LicensePayload{Version: LicensePayloadVersion, Serial: e.Seq, Customer: e.Stream.ID(), Basis: domain.BasisBooks}
	if e.Stream.Kind() == domain.KindFailOpen {
		p.Serial, p.Basis = 0, domain.BasisFailOpen // whatever the books say about it later counts more
	}
	var s *domain.Subject
	switch d := data.(type) {
	case *domain.LicenseIssued:
		s, p.KeyID, p.Terms, p.Basis, p.Quality = &d.Subject, d.KeyID, d.Terms, d.Basis, d.Quality
		p.IssuedAt, p.StartsAt, p.WindowEnd, p.ExpiresAt, p.LimitedBy = d.IssuedAt, d.IssuedAt, d.WindowEnd, d.ExpiresAt, d.LimitedBy
	case *domain.LicenseReissued:
		s, p.KeyID, p.Terms, p.Quality = &d.Subject, d.KeyID, d.Terms, d.Quality
		p.IssuedAt, p.StartsAt, p.WindowEnd, p.ExpiresAt, p.LimitedBy = d.IssuedAt, d.StartsAt, d.WindowEnd, d.ExpiresAt, d.LimitedBy
	case *domain.LicenseRenewed:
		s, p.KeyID, p.Terms = &d.Subject, d.KeyID, d.Terms
		p.IssuedAt, p.StartsAt, p.WindowEnd, p.ExpiresAt, p.LimitedBy = d.IssuedAt, d.RenewedAt, d.WindowEnd, d.ExpiresAt, d.LimitedBy
		p.PlaybackAgain = d.PlaybackRestarted
	default:
		return LicensePayload{}, false, fmt.Errorf("event %s: %s holds %T", e.ID, e.Type, data)
	}
	p.LicenseID, p.DeviceID, p.TitleID, p.ProfileID = s.LicenseID, s.DeviceID, s.TitleID, s.ProfileID
	p.Persistent = p.Terms.Persistent
	return p, true, nil
}

// signedLicense signs the licence that the events of one command grant, if they do. The key is the one that the event
// names and Ed25519 is deterministic, so every answer to the command carries the same bytes.
func signedLicense(signer Signer, events []domain.Event) (*SignedLicense, error) {
	for i := range events {
		payload, grants, err := licensePayload(&events[i])
		if err != nil {
			return nil, fmt.Errorf("reading the grant in event %s: %w", events[i].ID, err)
		}
		if !grants {
			continue
		}
		message, err := json.Marshal(&payload)
		if err != nil {
			return nil, fmt.Errorf("writing licence %s: %w", payload.LicenseID, err)
		}
		signature, err := signer.Sign(payload.KeyID, message)
		if err != nil {
			return nil, fmt.Errorf("signing licence %s with key %s: %w", payload.LicenseID, payload.KeyID, err)
		}
		return &SignedLicense{KeyID: payload.KeyID, Payload: message, Signature: signature}, nil
	}
	return nil, nil
}
