package command

import (
	"context"
	"fmt"

	"carryon/domain"
)

// Personal words never reach the domain, the log or a message in plain: they are sealed under the customer's key
// first, once per command. The request hash reads their digest. A customer without a key gets one when there are words
// to seal, and not before.

// sealedName is a device's name as it is recorded.
type sealedName struct {
	sealed domain.Sealed
	digest string
}

// sealDeviceName seals a name. A dry run records nothing, so it needs no name and makes no key.
func (a *App) sealDeviceName(ctx context.Context, customer, name string, dryRun bool) (sealedName, error) {
	if name == "" || dryRun {
		return sealedName{}, nil
	}
	sealed, digest, err := a.seal(ctx, customer, name)
	if err != nil {
		return sealedName{}, err
	}
	return sealedName{sealed: sealed, digest: digest}, nil
}

// sealedReason is a reason as it is recorded, and the digest of its words.
type sealedReason struct {
	recorded domain.Reason
	digest   string
}

func (a *App) sealReason(ctx context.Context, customer string, r ReasonGiven) (sealedReason, error) {
	reason := sealedReason{recorded: domain.Reason{Code: r.Code, Case: r.Case}}
	if r.Text == "" {
		return reason, nil
	}
	sealed, digest, err := a.seal(ctx, customer, r.Text)
	if err != nil {
		return sealedReason{}, err
	}
	reason.recorded.Text, reason.digest = sealed, digest
	return reason, nil
}

// sealReasonIfAny is nil for who gave no reason. Words about what is everyone's, a title or a policy, are sealed under
// the name of its stream, which no customer can have.
func (a *App) sealReasonIfAny(ctx context.Context, owner string, r *ReasonGiven) (*sealedReason, error) {
	if r == nil {
		return nil, nil //nolint:nilnil // no reason was given
	}
	reason, err := a.sealReason(ctx, owner, *r)
	return &reason, err
}

func (r *sealedReason) recordedIfAny() *domain.Reason {
	if r == nil {
		return nil
	}
	return &r.recorded
}

func (a *App) seal(ctx context.Context, customer, words string) (domain.Sealed, string, error) {
	sealed, err := a.vault.Seal(ctx, customer, words)
	if err != nil {
		return "", "", fmt.Errorf("sealing personal words of customer %s: %w", customer, err)
	}
	digest, err := a.vault.Digest(ctx, customer, words)
	if err != nil {
		return "", "", fmt.Errorf("digesting personal words of customer %s: %w", customer, err)
	}
	return sealed, digest, nil
}
