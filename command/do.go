package command

import (
	"context"
	"fmt"

	"carryon/domain"
)

// Local is the command side for what other processes forward to this one: it decides everything here, whatever shard
// it is for, so nothing is forwarded twice. It shares everything else with the App.
func (a *App) Local() *App {
	local := *a
	local.writer, local.forwarder, local.forwarded = a.local, nil, true
	return &local
}

// Stream is an authoritative read of a stream.
func (a *App) Stream(ctx context.Context, stream domain.StreamID) (Version, error) {
	return a.writer.Load(ctx, stream)
}

// NameOf is the name by which a command is known to other processes; empty for what is no command. It never changes.
func NameOf(command any) string {
	switch command.(type) {
	case *AcquireLicense:
		return "acquire_license"
	case *RenewLicense:
		return "renew_license"
	case *ReleaseLicense:
		return "release_license"
	case *ConfirmRelease:
		return "confirm_release"
	case *RevokeLicense:
		return "revoke_license"
	case *RecordPlayback:
		return "record_playback"
	case *RegisterDevice:
		return "register_device"
	case *RemoveDevice:
		return "remove_device"
	case *BlockDevice:
		return "block_device"
	case *UnblockDevice:
		return "unblock_device"
	case *ChangePlan:
		return "change_plan"
	case *ChangeMembership:
		return "change_membership"
	case *RevokeAllForCustomer:
		return "revoke_all_for_customer"
	case *GrantException:
		return "grant_exception"
	case *WithdrawException:
		return "withdraw_exception"
	case *WithdrawTitle:
		return "withdraw_title"
	case *PublishPolicy:
		return "publish_policy"
	}
	return ""
}

// Named is an empty command of a name, for Do; false: there is none.
func Named(name string) (any, bool) {
	for _, c := range Commands() {
		if NameOf(c) == name {
			return c, true
		}
	}
	return nil, false
}

// Commands are empty commands, one of each kind.
func Commands() []any {
	return []any{
		&AcquireLicense{}, &RenewLicense{}, &ReleaseLicense{}, &ConfirmRelease{}, &RevokeLicense{}, &RecordPlayback{},
		&RegisterDevice{}, &RemoveDevice{}, &BlockDevice{}, &UnblockDevice{},
		&ChangePlan{}, &ChangeMembership{}, &RevokeAllForCustomer{}, &GrantException{}, &WithdrawException{},
		&WithdrawTitle{}, &PublishPolicy{},
	}
}

// Do handles a command, given as a pointer to its struct.
func (a *App) Do(ctx context.Context, command any) (Result, error) {
	switch c := command.(type) {
	case *AcquireLicense:
		return a.AcquireLicense(ctx, *c)
	case *RenewLicense:
		return a.RenewLicense(ctx, *c)
	case *ReleaseLicense:
		return a.ReleaseLicense(ctx, *c)
	case *ConfirmRelease:
		return a.ConfirmRelease(ctx, *c)
	case *RevokeLicense:
		return a.RevokeLicense(ctx, *c)
	case *RecordPlayback:
		return a.RecordPlayback(ctx, *c)
	case *RegisterDevice:
		return a.RegisterDevice(ctx, *c)
	case *RemoveDevice:
		return a.RemoveDevice(ctx, *c)
	case *BlockDevice:
		return a.BlockDevice(ctx, *c)
	case *UnblockDevice:
		return a.UnblockDevice(ctx, *c)
	case *ChangePlan:
		return a.ChangePlan(ctx, *c)
	case *ChangeMembership:
		return a.ChangeMembership(ctx, *c)
	case *RevokeAllForCustomer:
		return a.RevokeAllForCustomer(ctx, *c)
	case *GrantException:
		return a.GrantException(ctx, *c)
	case *WithdrawException:
		return a.WithdrawException(ctx, *c)
	case *WithdrawTitle:
		return a.WithdrawTitle(ctx, *c)
	case *PublishPolicy:
		return a.PublishPolicy(ctx, *c)
	}
	return Result{}, fmt.Errorf("%T is no command", command)
}
