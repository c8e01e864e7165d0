package simulate

import (
	"context"
	"errors"
	"strings"

	"carryon/command"
	"carryon/domain"
)

// Handlers drives the command handlers of this very process, without HTTP between.
type Handlers struct{ App *command.App }

// Do runs one operation.
func (t Handlers) Do(ctx context.Context, op Op) Answer {
	r, err := t.handle(ctx, op)
	switch {
	case errors.Is(err, command.ErrUnknown), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return Answer{Outcome: Unknown, Detail: err.Error()}
	case errors.Is(err, command.ErrOverloaded), errors.Is(err, command.ErrUnavailable):
		return Answer{Outcome: Busy, Code: "OVERLOADED", Detail: err.Error()}
	case errors.Is(err, command.ErrTokenDrift):
		a := Answer{Outcome: Refused, Code: codeTokenDrift, Detail: err.Error()}
		if drift, ok := errors.AsType[*command.DriftError](err); ok {
			a.ServerTime = drift.ServerTime
		}
		return a
	case errors.Is(err, domain.ErrNotFound):
		return Answer{Outcome: Rejected, Code: "NOT_FOUND", Detail: err.Error()}
	case errors.Is(err, domain.ErrConflict):
		return Answer{Outcome: Rejected, Code: "CONFLICT", Detail: err.Error()}
	case err != nil:
		return Answer{Outcome: Rejected, Code: "ERROR", Detail: err.Error()}
	}
	a := Answer{Outcome: Accepted, Version: r.Version}
	if r.Position.Index > 0 {
		a.Position = r.Position.String()
	}
	if r.Decision != nil && r.Decision.Outcome == domain.OutcomeRefuse {
		a.Outcome, a.Code = Refused, r.Decision.Code
		return a
	}
	for i := range r.Events {
		data, err := r.Events[i].Data()
		if err != nil {
			continue // the handlers decoded it already: they made it
		}
		switch e := data.(type) {
		case *domain.LicenseIssued:
			a.LicenseID = e.LicenseID
			a.expires(e.ExpiresAt)
		case *domain.LicenseReissued:
			a.LicenseID = e.LicenseID
			a.expires(e.ExpiresAt)
		case *domain.LicenseRenewed:
			a.LicenseID = e.LicenseID
			a.expires(e.ExpiresAt)
		case *domain.PlaybackStarted:
			a.expires(e.ExpiresAt)
		}
	}
	return a
}

func (t Handlers) handle(ctx context.Context, op Op) (command.Result, error) {
	meta := func(role domain.Role, id string) command.Meta {
		return command.Meta{CommandID: op.Key, Actor: domain.Actor{ID: id, Role: role}, Correlation: op.Key}
	}
	device, billing, support := meta(domain.RoleDevice, op.Customer), meta(domain.RoleService, "billing"), meta(domain.RoleSupport, "agent-7")
	reason := command.ReasonGiven{Code: op.Reason, Case: "DEMO-1"}
	switch op.Kind {
	case Plan:
		return t.App.ChangePlan(ctx, command.ChangePlan{Meta: billing, Customer: op.Customer, Plan: op.Plan, Country: op.Country})
	case Membership:
		return t.App.ChangeMembership(ctx, command.ChangeMembership{Meta: billing, Customer: op.Customer, State: op.State})
	case Acquire, Evaluate:
		return t.App.AcquireLicense(ctx, command.AcquireLicense{
			Meta: device, Customer: op.Customer, TitleID: op.TitleID, DeviceID: op.DeviceID, DeviceType: op.DeviceType,
			Country: op.Country, Trigger: op.Trigger, Quality: op.Quality, SizeBytes: op.SizeBytes, DryRun: op.Kind == Evaluate,
		})
	case Renew:
		return t.App.RenewLicense(ctx, command.RenewLicense{Meta: device, Customer: op.Customer, LicenseID: op.LicenseID, Trigger: op.Trigger})
	case Release:
		return t.App.ReleaseLicense(ctx, command.ReleaseLicense{Meta: device, Customer: op.Customer, LicenseID: op.LicenseID})
	case Confirm:
		return t.App.ConfirmRelease(ctx, command.ConfirmRelease{Meta: device, Customer: op.Customer, LicenseID: op.LicenseID})
	case PlayStart, PlayStop:
		return t.App.RecordPlayback(ctx, command.RecordPlayback{
			Meta: device, Customer: op.Customer, LicenseID: op.LicenseID, PlayID: op.PlayID,
			Kind: strings.TrimPrefix(string(op.Kind), "play-"), DeviceTime: op.DeviceTime, PositionSeconds: op.Position,
		})
	case Register:
		return t.App.RegisterDevice(ctx, command.RegisterDevice{Meta: device, Customer: op.Customer, DeviceID: op.DeviceID, DeviceType: op.DeviceType, Name: op.DeviceName, Replaces: op.Replaces})
	case Remove:
		return t.App.RemoveDevice(ctx, command.RemoveDevice{Meta: device, Customer: op.Customer, DeviceID: op.DeviceID})
	case Block:
		return t.App.BlockDevice(ctx, command.BlockDevice{Meta: support, Customer: op.Customer, DeviceID: op.DeviceID, Reason: reason})
	case Unblock:
		return t.App.UnblockDevice(ctx, command.UnblockDevice{Meta: support, Customer: op.Customer, DeviceID: op.DeviceID, Reason: reason})
	case Revoke:
		return t.App.RevokeLicense(ctx, command.RevokeLicense{Meta: support, Customer: op.Customer, LicenseID: op.LicenseID, Reason: reason})
	case Exception:
		return t.App.GrantException(ctx, command.GrantException{Meta: support, Customer: op.Customer, Code: op.Code, Uses: 1, Reason: reason})
	}
	return command.Result{}, errors.New("no such operation: " + string(op.Kind))
}
