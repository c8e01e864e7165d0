// Package commandapi is the way in for commands over HTTP: what devices, billing, support and operators do.
package commandapi

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"carryon/api/web"
	"carryon/command"
)

// Commands is what the routes need of the command side: command.App.
type Commands interface {
	AcquireLicense(ctx context.Context, c command.AcquireLicense) (command.Result, error)
	RenewLicense(ctx context.Context, c command.RenewLicense) (command.Result, error)
	ReleaseLicense(ctx context.Context, c command.ReleaseLicense) (command.Result, error)
	ConfirmRelease(ctx context.Context, c command.ConfirmRelease) (command.Result, error)
	RevokeLicense(ctx context.Context, c command.RevokeLicense) (command.Result, error)
	RecordPlayback(ctx context.Context, c command.RecordPlayback) (command.Result, error)
	RegisterDevice(ctx context.Context, c command.RegisterDevice) (command.Result, error)
	RemoveDevice(ctx context.Context, c command.RemoveDevice) (command.Result, error)
	BlockDevice(ctx context.Context, c command.BlockDevice) (command.Result, error)
	UnblockDevice(ctx context.Context, c command.UnblockDevice) (command.Result, error)
	ChangePlan(ctx context.Context, c command.ChangePlan) (command.Result, error)
	ChangeMembership(ctx context.Context, c command.ChangeMembership) (command.Result, error)
	RevokeAllForCustomer(ctx context.Context, c command.RevokeAllForCustomer) (command.Result, error)
	GrantException(ctx context.Context, c command.GrantException) (command.Result, error)
	WithdrawException(ctx context.Context, c command.WithdrawException) (command.Result, error)
	WithdrawTitle(ctx context.Context, c command.WithdrawTitle) (command.Result, error)
	PublishPolicy(ctx context.Context, c command.PublishPolicy) (command.Result, error)
	PublicKeys() []command.PublicKey
	Shadow() (command.ShadowReport, error)
}

var _ Commands = (*command.App)(nil)

// Options are the settings of the API.
type Options struct {
	Timeout time.Duration // until a caller is told that the outcome is unknown; 0: 10s
	Version string        // of the program, told by the document that is served; empty: that of the routes
}

const defaultTimeout = 10 * time.Second

const about = `Commands: what devices, billing, customer service and operators do. Each is decided on the customer's whole history
and recorded before it is answered.

**Repeating.** Each POST that commands needs an Idempotency-Key, a UUID of version 7 made when the command was first meant; PUT
and DELETE take one. The same key with the same body gets the same answer, from any process, after any crash; with another body,
422 IDEMPOTENCY_CONFLICT. Repeat with the same key after a time-out, a 503 or a 504. The time in the key of an acquire or renewal
must be about now (409 TOKEN_DRIFT says how far, and what time it is).

**Versions.** An answer names the version of the stream (also the ETag) and the position in the log. Name the version in If-Match
to command only if nothing else has happened (else 412); name either in min_version or min_position of the query API to read your
own write.

**Refusals.** What the rules refuse is a 403 of type urn:carryon:problem:refused: the code, what was counted over, used, limit,
when a place comes free, who holds the places, what would help, and the whole decision. A refusal is recorded.

**Problems** are application/problem+json (RFC 9457). 503: nothing was done. 504: something may have been.`

// Mount adds the routes to a gateway, and serves their document.
func Mount(g *web.Gateway, commands Commands, o Options) (*web.API, error) {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	api := web.NewAPI(g, "Carryon commands", o.Version, about, []*huma.Tag{
		{Name: "licences", Description: "Acquire, renew, give back, take back, play"},
		{Name: "devices", Description: "Slots, and who may hold them"},
		{Name: "customers", Description: "Plan, membership, exceptions"},
		{Name: "reference", Description: "What is decided for everyone: titles, policies, keys"},
	})
	r := routes{api: api, do: commands, timeout: o.Timeout}
	r.licenses()
	r.devices()
	r.customers()
	r.reference()
	g.ServeDocument("command", api)
	return api, api.Err()
}

type routes struct {
	api     *web.API
	do      Commands
	timeout time.Duration
}
