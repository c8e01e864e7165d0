package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"carryon/domain"
)

// Explain asks whether a customer may have a title on a device, and why or why not, without asking for it.
type Explain struct {
	By          Caller
	Customer    string
	TitleID     string
	DeviceID    string
	DeviceType  string // for a device that is not registered yet
	LicenseID   string // instead of title and device: whether this licence would be renewed
	Country     string // ISO 3166 alpha-2; empty: the home country
	ProfileID   string
	Maturity    string    // of the profile: kids, teen, adult; empty: adult
	Quality     string    // empty: as the device likes
	At          time.Time // zero: now; a past moment needs the event store
	Consistency Consistency
}

// ExplainAnswer is the decision that the rules would make.
type ExplainAnswer struct {
	Made
	At       time.Time       `json:"at"`
	Decision domain.Decision `json:"decision"`
	Sentence string          `json:"sentence"` // the outcome in plain words
}

// ExplainHandler answers Explain.
type ExplainHandler struct{ p *Ports }

// explanationID stands where a command id would: an explanation is nobody's command.
const explanationID = "explanation"

// Handle decides as a dry run on the books that the customer has, or had at q.At. A customer without history has empty
// books.
func (h ExplainHandler) Handle(ctx context.Context, q Explain) (ExplainAnswer, error) {
	if err := q.check(); err != nil {
		return ExplainAnswer{}, err
	}
	if err := h.p.Desk.admit(ctx, q.By, q.Customer, "explain"); err != nil {
		return ExplainAnswer{}, err
	}
	b, err := h.p.openBooks(ctx, q.Customer, q.Consistency, q.At)
	if err != nil {
		return ExplainAnswer{}, fmt.Errorf("explain: %w", err)
	}
	verdict, err := q.decide(b)
	if err != nil {
		return ExplainAnswer{}, fmt.Errorf("explain: %w", err)
	}
	return ExplainAnswer{Made: b.Made, At: b.at, Decision: *verdict.Decision, Sentence: explained(verdict.Decision)}, nil
}

func (q *Explain) check() error {
	errs := []error{domain.CheckID("customer", q.Customer), q.Consistency.check()}
	if q.LicenseID == "" {
		errs = append(errs, domain.CheckID("title_id", q.TitleID), domain.CheckID("device_id", q.DeviceID))
		return errors.Join(errs...)
	}
	errs = append(errs, domain.CheckID("license_id", q.LicenseID))
	for name, value := range map[string]string{"title_id": q.TitleID, "device_id": q.DeviceID, "device_type": q.DeviceType, "profile_id": q.ProfileID, "maturity": q.Maturity, "quality": q.Quality} {
		if value != "" {
			errs = append(errs, fieldError(name, "does not go with license_id: a licence is renewed as it is"))
		}
	}
	return errors.Join(errs...)
}

// decide decides the acquisition or the renewal on the books, and records nothing.
func (q *Explain) decide(b books) (domain.Verdict, error) {
	m := domain.Moment{Now: b.at, CommandID: explanationID, Actor: q.By.Actor, Version: b.Version, Reference: b.ref}
	if q.LicenseID != "" {
		return b.customer.EvaluateRenew(m, domain.RenewRequest{LicenseID: q.LicenseID, Country: q.Country, Trigger: domain.TriggerUser})
	}
	deviceType := q.DeviceType
	for _, d := range b.customer.Devices(b.ref, b.at) {
		if deviceType == "" && d.DeviceID == q.DeviceID {
			deviceType = d.DeviceType
		}
	}
	if deviceType == "" {
		return domain.Verdict{}, fieldError("device_type", "is missing: device %s is not known to the customer's books", q.DeviceID)
	}
	return b.customer.Evaluate(m, domain.AcquireRequest{
		DeviceID: q.DeviceID, DeviceType: deviceType, TitleID: q.TitleID, Country: q.Country, ProfileID: q.ProfileID,
		Maturity: q.Maturity, Quality: q.Quality, Trigger: domain.TriggerUser,
	})
}

// explained is the outcome in plain words.
func explained(d *domain.Decision) string {
	if d.Outcome == domain.OutcomeGrant {
		return "It would be granted" + left(d) + "."
	}
	return "It would be refused: " + reason(d.Code) + numbers(RefusingRule(d)) + "."
}
