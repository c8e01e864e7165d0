package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"carryon/domain"
)

// App is the command side: this file is its table of contents. Each command has a file of its own, named after it,
// with its struct, what it may hold, and its handler:
//
//	AcquireLicense, RenewLicense, ReleaseLicense, ConfirmRelease, RecordPlayback, RevokeLicense, RevokeAllForCustomer
//	RegisterDevice, RemoveDevice, BlockDevice, UnblockDevice
//	ChangePlan, ChangeMembership, GrantException, WithdrawException
//	WithdrawTitle, PublishPolicy
//
// and four questions that are answered from the books themselves: State, StateAsOf, Explain, Decision.
//
// A refusal by the rules is a Result whose Decision says so. An error is one of the sentinels of ports.go or domain,
// wrapped, where it can be one of these: FieldErrors, *DriftError, *OverloadedError, *VersionConflictError.
type App struct {
	writer    Submitter // with forwarding: a front before local
	local     Submitter
	books     *Books
	reference *ReferenceFollower
	vault     Vault
	signer    Signer
	impact    Impact
	forwarder Forwarder
	forwarded bool // what comes here was forwarded by another process
	emergency *emergency
	shadow    *Shadow
	clock     Clock
	logger    *slog.Logger
	metrics   *Metrics
}

// Submitter is what the handlers need of the shard writer.
type Submitter interface {
	// Submit has a command decided and its events recorded. See Writer.Submit.
	Submit(ctx context.Context, s Submission) (Result, error)
	// Load is an authoritative read of a stream. See Writer.Load.
	Load(ctx context.Context, stream domain.StreamID) (Version, error)
}

// Forwarder hands commands and reads to the process that writes their shard, once. Its errors are the ones that the
// process answered with, or wrap ErrUnavailable when it certainly was not reached, or ErrUnknown when it may have been.
type Forwarder interface {
	// Forward has the process give the command to its App.Local. The command is a pointer to one of this package's
	// commands.
	Forward(ctx context.Context, writer string, command any) (Result, error)
	// Load has the process read a stream.
	Load(ctx context.Context, writer string, stream domain.StreamID) (Version, error)
}

// Forwarding is what an App needs that shares the shards with other processes.
type Forwarding struct {
	To      Forwarder
	Owners  Ownership
	Shards  int // customer shards
	Config  FrontConfig
	Metrics *FrontMetrics // may be nil
}

// Dependencies are what the command side works with. Impact, Forwarding, Clock, Logger and Metrics may be nil.
type Dependencies struct {
	Writer     Submitter
	Books      *Books
	Reference  *ReferenceFollower
	Vault      Vault
	Signer     Signer
	Impact     Impact // nil: a dry run of a withdrawal or policy is ErrUnavailable
	FailOpen   FailOpen
	Shadow     *Shadow     // a policy that decides beside the one in force; nil: none does
	Forwarding *Forwarding // nil: this process writes every shard itself
	Clock      Clock
	Logger     *slog.Logger
	Metrics    *Metrics
}

// NewApp is the command side over its dependencies. It starts nothing: see Start.
func NewApp(d Dependencies) (*App, error) {
	var missing []error
	need := func(have bool, what string) {
		if !have {
			missing = append(missing, fmt.Errorf("command side: %s is missing", what))
		}
	}
	need(d.Writer != nil, "Writer")
	need(d.Books != nil, "Books")
	need(d.Reference != nil, "Reference")
	need(d.Vault != nil, "Vault")
	need(d.Signer != nil, "Signer")
	if err := errors.Join(missing...); err != nil {
		return nil, err
	}
	if d.Clock == nil {
		d.Clock = time.Now
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.Metrics == nil {
		d.Metrics = NewMetrics(nil)
	}
	a := &App{
		writer: d.Writer, books: d.Books, reference: d.Reference, vault: d.Vault, signer: d.Signer, impact: d.Impact, local: d.Writer,
		clock: d.Clock, logger: d.Logger, metrics: d.Metrics,
	}
	if f := d.Forwarding; f != nil {
		if f.To == nil || f.Owners == nil || f.Shards < 1 {
			return nil, errors.New("command side: forwarding needs To, Owners and Shards")
		}
		a.forwarder, a.writer = f.To, newFront(d.Writer, *f)
	}
	if a.shadow = d.Shadow; a.shadow != nil {
		a.shadow.metrics = d.Metrics
	}
	a.emergency = newEmergency(a, d.FailOpen)
	d.Metrics.follow(d.Reference)
	return a, nil
}

// Start begins what runs beside the commands: settling the grants that were made without the books. Close ends it.
func (a *App) Start(ctx context.Context) error { return a.emergency.start(ctx) }

// Close ends what Start began and waits for it.
func (a *App) Close() { a.emergency.close() }

// PublicKeys are the keys that devices check licences with.
func (a *App) PublicKeys() []PublicKey { return a.signer.PublicKeys() }

// Shadow is what the shadow policy has decided. domain.ErrNotFound (wrapped): there is none.
func (a *App) Shadow() (ShadowReport, error) {
	if a.shadow == nil {
		return ShadowReport{}, fmt.Errorf("no policy decides in the shadow here: %w", domain.ErrNotFound)
	}
	return a.shadow.Report(), nil
}

func (a *App) now() time.Time { return a.clock().UTC().Truncate(time.Microsecond) }
