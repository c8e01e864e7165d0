package command

import (
	"context"
	"fmt"
	"time"

	"carryon/domain"
)

// PublishPolicy puts a version of a policy document in force from a moment on. The versions of a document are 1, 2,
// 3…; version 1 is in the program. A version is never changed: to undo one, publish the one before it again.
type PublishPolicy struct {
	Meta
	Policy        string    // default, device-types
	Document      []byte    // JSON
	EffectiveFrom time.Time // zero: at once
	DryRun        bool      // only checks the document and tells who would be touched
}

// A policy may be said to take effect this long before it is published: what a clock may be off, and a form take to
// fill in. What was decided before it was published stays decided.
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
	return f.err()
}

// PublishPolicy records the next version of the document, after checking all of it.
func (a *App) PublishPolicy(ctx context.Context, c PublishPolicy) (Result, error) {
	if err := c.check(); err != nil {
		return Result{}, err
	}
	return Result{}, fmt.Errorf("not reached: %w", ErrUnavailable)
}
