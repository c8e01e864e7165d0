package projector

import (
	"fmt"
	"slices"
	"time"

	"carryon/domain"
)

// About is what every read model that lists events says of one, whatever its type: who, what, which rule. It holds no
// personal words but the sealed ones, which are opened when they are read.
type About struct {
	domain.Subject
	Code       string           // of a refusal, an exception, or the refusal that a fail-open grant would have met
	Basis      string           // of a grant
	Case       string           // number of the case that a person acted on
	ReasonCode string           // lost_device, chargeback, …
	Decision   *domain.Decision // where the event carries one
	Words      []domain.Sealed  // personal: a device's name, a reason's text
	Exception  string           // id
}

// AboutEvent reads an event. An event that this program is too old for is a *PoisonError.
func AboutEvent(e *domain.Event) (About, domain.Payload, error) {
	data, err := e.Data()
	if err != nil {
		return About{}, nil, &PoisonError{Event: e, Err: err}
	}
	return aboutPayload(e, data)
}

// outline is AboutEvent for who needs of a decision no more than its id.
func outline(e *domain.Event) (About, domain.Payload, error) {
	data, err := e.FoldData()
	if err != nil {
		return About{}, nil, &PoisonError{Event: e, Err: err}
	}
	return aboutPayload(e, data)
}

func aboutPayload(e *domain.Event, data domain.Payload) (About, domain.Payload, error) {
	var a About
	switch p := data.(type) {
	case *domain.LicenseIssued:
		a = About{Subject: p.Subject, Basis: p.Basis, Decision: &p.Decision}
	case *domain.LicenseReissued:
		a = About{Subject: p.Subject, Decision: &p.Decision}
	case *domain.LicenseRenewed:
		a = About{Subject: p.Subject, Decision: &p.Decision}
	case *domain.LicenseDenied:
		a = About{Subject: p.Subject, Code: p.Code, Decision: &p.Decision}
	case *domain.LicenseReleased:
		a = About{Subject: p.Subject, ReasonCode: p.Cause}.because(p.Reason)
	case *domain.ReleaseConfirmed:
		a = About{Subject: p.Subject}.because(p.Reason)
	case *domain.LicenseRevoked:
		a = About{Subject: p.Subject}.because(&p.Reason)
	case *domain.LicenseExpired:
		a = About{Subject: p.Subject}
	case *domain.PlaybackStarted:
		a = About{Subject: p.Subject}
	case *domain.PlaybackStopped:
		a = About{Subject: p.Subject}
	case *domain.ContentDownloaded:
		a = About{Subject: p.Subject}
	case *domain.ContentRenewed:
		a = About{Subject: p.Subject}
	case *domain.ContentPlayed:
		a = About{Subject: p.Subject}
	case *domain.DeviceRegistered:
		a = About{Subject: p.Subject}
		if p.Name != "" {
			a.Words = []domain.Sealed{p.Name}
		}
	case *domain.DeviceRemoved:
		a = About{Subject: p.Subject}.because(p.Reason)
	case *domain.DeviceBlocked:
		a = About{Subject: p.Subject}.because(&p.Reason)
	case *domain.DeviceUnblocked:
		a = About{Subject: p.Subject}.because(&p.Reason)
	case *domain.ExceptionGranted:
		a = About{Code: p.Code, Exception: p.ExceptionID, Subject: scoped(p.Scope)}.because(&p.Reason)
	case *domain.ExceptionUsed:
		a = About{Subject: p.Subject, Code: p.Code, Exception: p.ExceptionID}
	case *domain.ExceptionWithdrawn:
		a = About{Exception: p.ExceptionID}.because(&p.Reason)
	case *domain.PlanChanged:
		a = About{Subject: domain.Subject{Plan: p.Plan, Country: p.Country}}.because(p.Reason)
	case *domain.MembershipChanged:
		a = About{}.because(p.Reason)
	case *domain.GrantReconciled:
		a = About{Subject: p.Subject, Code: p.Code}
	case *domain.TitleWithdrawn:
		a = About{Subject: domain.Subject{TitleID: p.TitleID}}.because(p.Reason)
	case *domain.PolicyPublished:
		a = About{}.because(p.Reason)
	default:
		return About{}, nil, &PoisonError{Event: e, Err: fmt.Errorf("%w: %s has no place in the read models", domain.ErrUnknownEventType, e.Type)}
	}
	return a, data, nil
}

// readable says whether this program can read an event, without reading it. A projection that passes over most types
// asks it for all of them, so that what a newer program wrote waits for a newer program.
func readable(e *domain.Event) error {
	switch known := domain.SchemaVersion(e.Type); {
	case known == 0:
		return &PoisonError{Event: e, Err: fmt.Errorf("%w: %s", domain.ErrUnknownEventType, e.Type)}
	case e.SchemaVersion > known:
		return &PoisonError{Event: e, Err: fmt.Errorf("%s v%d: %w", e.Type, e.SchemaVersion, domain.ErrFutureVersion)}
	}
	return nil
}

// because adds why a person did it.
func (a About) because(r *domain.Reason) About {
	if r == nil {
		return a
	}
	a.ReasonCode, a.Case = r.Code, r.Case
	if r.Text != "" {
		a.Words = []domain.Sealed{r.Text}
	}
	return a
}

// scoped is the subject that a scope names.
func scoped(s domain.Scope) domain.Subject {
	switch s.Kind {
	case domain.ScopeDevice:
		return domain.Subject{DeviceID: s.ID}
	case domain.ScopeTitle:
		return domain.Subject{TitleID: s.ID}
	case domain.ScopeStudio:
		return domain.Subject{Studio: s.ID}
	case domain.ScopeLicense:
		return domain.Subject{LicenseID: s.ID}
	}
	return domain.Subject{}
}

// DecisionID is the id of the decision that the event carries, if it does.
func (a *About) DecisionID() string {
	if a.Decision == nil {
		return ""
	}
	return a.Decision.ID
}

// StreamVersion is how far a read model is with a stream.
type StreamVersion struct {
	Stream   domain.StreamID
	Version  uint64          // seq of the last event applied
	Position domain.Position // of that event
}

// newestOf are the versions that the streams have after the events, in order of stream.
func newestOf(events []*domain.Event) []StreamVersion {
	at := make(map[domain.StreamID]int, len(events))
	var versions []StreamVersion
	for _, e := range events {
		v := StreamVersion{Stream: e.Stream, Version: e.Seq, Position: e.Position}
		if i, ok := at[e.Stream]; ok {
			versions[i] = v
			continue
		}
		at[e.Stream] = len(versions)
		versions = append(versions, v)
	}
	slices.SortFunc(versions, func(a, b StreamVersion) int { return compareStreams(a.Stream, b.Stream) })
	return versions
}

func compareStreams(a, b domain.StreamID) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// earlierOf: nil is for "never", which is later than any moment.
func earlierOf(a, b *time.Time) *time.Time {
	switch {
	case a == nil:
		return b
	case b == nil || a.Before(*b):
		return a
	}
	return b
}
