package command

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"carryon/domain"
)

// PublishPolicy puts a version of a policy document in force from a moment on. The versions of a document are 1, 2,
// 3…; version 1 is in the program. A version is never changed: to undo one, publish the one before it again. In force is
// the highest version whose moment has come.
type PublishPolicy struct {
	Meta
	Policy        string       // default, device-types
	Document      []byte       // JSON
	EffectiveFrom time.Time    // zero: at once
	Reason        *ReasonGiven `json:",omitempty"` // support and operators give one, unless they only try
	DryRun        bool         // only checks the document and tells who would be touched
}

// A policy may be said to take effect this long before it is published: what a clock may be off, and a form take to
// fill in. It takes effect at once then: what was decided before stays decided.
const effectiveTolerance = 5 * time.Minute

func (c *PublishPolicy) check() error {
	var f form
	f.meta(&c.Meta)
	f.choice("policy", c.Policy, domain.PolicyDefault, domain.PolicyDeviceTypes)
	switch {
	case len(c.Document) == 0:
		f.add("document", "is missing")
	case len(c.Document) > MaxDocumentBytes:
		f.add("document", "is %d bytes long, at most %d are allowed", len(c.Document), MaxDocumentBytes)
	}
	if !c.EffectiveFrom.IsZero() {
		f.moment("effective_from", c.EffectiveFrom)
	}
	if !c.DryRun {
		f.reasonOf(c.Actor.Role, "reason.code", c.Reason)
	}
	return f.err()
}

// PublishPolicy checks the whole document, every error named, and records it as the next version.
func (a *App) PublishPolicy(ctx context.Context, c PublishPolicy) (Result, error) {
	if err := c.check(); err != nil {
		return Result{}, err
	}
	ask := domain.PublishRequest{EffectiveFrom: c.EffectiveFrom.UTC().Truncate(time.Microsecond)}
	document, policy, err := readDocument(c.Policy, c.Document)
	if err != nil {
		return Result{}, err
	}
	ask.Document = document
	if c.DryRun {
		return a.policyImpact(ctx, c.Policy, policy, ask.EffectiveFrom)
	}
	reason, err := a.sealReasonIfAny(ctx, string(domain.PolicyStream(c.Policy)), c.Reason)
	if err != nil {
		return Result{}, err
	}
	ask.Reason = reason.recordedIfAny()
	result, err := a.handle(ctx, request{
		name: "publish_policy", meta: &c.Meta, stream: domain.PolicyStream(c.Policy), command: &c,
		hash: hashOf("publish_policy").text(c.Policy).text(string(document)).time(ask.EffectiveFrom).optionalReason(reason).sum(),
		stand: func(state domain.Aggregate, m domain.Moment) (domain.Verdict, error) {
			versions, ok := state.(*domain.PolicyVersions)
			if !ok {
				return domain.Verdict{}, fmt.Errorf("stream of policy %s holds %T", c.Policy, state)
			}
			if err := fits(policy, ask.EffectiveFrom, m.Reference, m.Now); err != nil {
				return domain.Verdict{}, err
			}
			return versions.Publish(m, ask)
		},
	})
	return a.knowing(ctx, result, err)
}

// fits refuses a moment that is too far gone or too far away, and rules for titles that the catalogue does not have.
func fits(policy *domain.Policy, from time.Time, ref domain.Reference, now time.Time) error {
	var f form
	switch {
	case from.IsZero():
	case from.Before(now.Add(-effectiveTolerance)):
		f.add("effective_from", "is %s, which has passed (it is %s)", from.Format(time.RFC3339), now.Format(time.RFC3339))
	default:
		f.withinHorizon("effective_from", from, now)
	}
	if policy != nil {
		for _, id := range slices.Sorted(maps.Keys(policy.Titles)) {
			if title, known := ref.Title(id); !known || !title.Playable() {
				f.add("document.titles."+id, "is no movie or episode of the catalogue")
			}
		}
	}
	return f.err()
}

func (a *App) policyImpact(ctx context.Context, name string, policy *domain.Policy, from time.Time) (Result, error) {
	ref, err := a.reference.Reference(ctx)
	if err != nil {
		return Result{}, err
	}
	if err := fits(policy, from, ref, a.now()); err != nil {
		return Result{}, err
	}
	if policy == nil {
		return Result{}, FieldErrors{{Field: "dry_run", Problem: "tells nothing of device types: only the policy \"default\" limits customers"}}
	}
	if a.impact == nil {
		return Result{}, fmt.Errorf("whom a policy would touch is known to the read models only: %w", ErrUnavailable)
	}
	touched, err := a.impact.PolicyImpact(ctx, policy)
	if err != nil {
		return Result{}, fmt.Errorf("whom the policy would touch: %w", err)
	}
	return Result{Stream: domain.PolicyStream(name), Impact: &touched}, nil
}

// readDocument checks a document and gives its canonical form, and the policy if it is one.
func readDocument(name string, document []byte) (canonical []byte, policy *domain.Policy, err error) {
	if name == domain.PolicyDeviceTypes {
		types, err := domain.ParseDeviceTypes(document)
		if err != nil {
			return nil, nil, invalid(err, "document.")
		}
		return types.JSON(), nil, nil
	}
	policy, err = domain.ParsePolicy(document)
	if err != nil {
		return nil, nil, invalid(err, "document.")
	}
	return policy.JSON(), policy, nil
}
