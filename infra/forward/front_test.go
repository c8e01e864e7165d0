package forward_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/memory"
	"carryon/infra/vault"
)

// elsewhere says that every shard belongs to another process.
type elsewhere struct{}

func (elsewhere) Owner(int) (string, bool) { return "other", false }

// here says that every shard belongs to this one.
type here struct{}

func (here) Owner(int) (string, bool) { return "self", true }

// scripted is a way to another process that goes as a test wants.
type scripted struct {
	asked   atomic.Int64
	forward func(ctx context.Context, c any) (command.Result, error)
	load    func(ctx context.Context, stream domain.StreamID) (command.Version, error)
}

func (s *scripted) Forward(ctx context.Context, writer string, c any) (command.Result, error) {
	s.asked.Add(1)
	return s.forward(ctx, c)
}

func (s *scripted) Load(ctx context.Context, writer string, stream domain.StreamID) (command.Version, error) {
	s.asked.Add(1)
	return s.load(ctx, stream)
}

// newApp is a command side over a store.
func newApp(t *testing.T, store *memory.Store, owners command.Ownership, to command.Forwarder) *command.App {
	t.Helper()
	conn := store.Connect()
	ref := command.NewReferenceFollower(conn, catalogues{}, command.FollowerConfig{}, nil)
	if err := ref.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ref.Close)
	writer, err := command.NewWriter(command.WriterConfig{Name: "self", Shards: shards}, command.WriterPorts{
		Log: conn, Histories: conn, Snapshots: conn, Folding: command.DomainFolding(), Reference: ref.Reference,
	})
	if err != nil {
		t.Fatal(err)
	}
	writer.Start()
	t.Cleanup(func() { _ = writer.Close(context.Background()) })
	app, err := command.NewApp(command.Dependencies{
		Writer: writer, Books: command.NewBooks(conn, conn, command.DomainFolding(), shards), Reference: ref, Vault: vault.NewMemory(), Signer: newSigner(),
		Forwarding: &command.Forwarding{To: to, Owners: owners, Shards: shards},
	})
	if err != nil {
		t.Fatal(err)
	}
	return app
}

func changePlan(plan string) command.ChangePlan {
	return command.ChangePlan{Meta: meta(), Customer: "ada", Plan: plan, Country: "DE"}
}

func entries(store *memory.Store) (n int) {
	for shard := range shards + 1 {
		n += len(store.Entries(shard))
	}
	return n
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

var (
	errLost    = errors.Join(command.ErrUnknown, errors.New("the connection was lost"))
	errRefused = errors.Join(command.ErrUnavailable, errors.New("connection refused"))
)

func TestWhatTheOwnerAnswersIsTheAnswer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]error{
		"a stale If-Match":  &command.VersionConflictError{Expected: 1, Actual: 2},
		"a reused key":      command.ErrIdempotencyConflict,
		"a full queue":      &command.OverloadedError{Queue: "shard", RetryAfter: time.Second},
		"a full store":      command.ErrStoreFull,
		"a wrong field":     command.FieldErrors{{Field: "plan", Problem: "is unknown"}},
		"nothing to revoke": domain.ErrNotFound,
	} {
		synctest.Test(t, func(t *testing.T) {
			store := memory.NewStore()
			to := &scripted{forward: func(context.Context, any) (command.Result, error) { return command.Result{}, test }}
			_, err := newApp(t, store, elsewhere{}, to).ChangePlan(within(t, time.Minute), changePlan("premium"))
			if err == nil || err.Error() != test.Error() || entries(store) != 0 {
				t.Errorf("%s: %v, and %d entries were written here", name, err, entries(store))
			}
		})
	}
}

func TestWhenTheOwnerFailsTheCommandIsDecidedHere(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]error{
		"it is not reached": errRefused, "it is shutting down": command.ErrClosed, "its store is away": command.ErrUnavailable, "its answer is lost": errLost,
		"it does not know": command.ErrUnknown,
	} {
		synctest.Test(t, func(t *testing.T) {
			store := memory.NewStore()
			to := &scripted{forward: func(context.Context, any) (command.Result, error) { return command.Result{}, failure }}
			r, err := newApp(t, store, elsewhere{}, to).ChangePlan(within(t, time.Minute), changePlan("premium"))
			if err != nil || r.Version != 1 || r.Elsewhere || to.asked.Load() != 1 {
				t.Errorf("%s: %+v, %v, after asking %d times", name, r, err, to.asked.Load())
			}
		})
	}
}

func TestALostAnswerIsFoundHere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.NewStore()
		owner := newApp(t, store, here{}, &scripted{})
		to := &scripted{forward: func(ctx context.Context, c any) (command.Result, error) {
			_, _ = owner.Local().Do(ctx, c)
			return command.Result{}, errLost
		}}
		r, err := newApp(t, store, elsewhere{}, to).ChangePlan(within(t, time.Minute), changePlan("premium"))
		if err != nil || r.Version != 1 || !r.Repeated || entries(store) != 1 {
			t.Errorf("%+v, %v, %d entries", r, err, entries(store))
		}
	})
}

// The owner may still record what it did not answer: nobody may be told that nothing came of it.
func TestWhatTheOwnerMayStillRecordIsNeverToldAsAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.NewStore()
		failure := errLost
		to := &scripted{forward: func(context.Context, any) (command.Result, error) { return command.Result{}, failure }}
		app := newApp(t, store, elsewhere{}, to)
		if _, err := app.ChangePlan(within(t, time.Minute), changePlan("premium")); err != nil {
			t.Fatal(err)
		}
		stale, wrong := uint64(9), changePlan("standard")
		wrong.IfMatch = &stale
		again := func(c command.ChangePlan) error {
			pause(t.Context(), 2*time.Second) // until the owner is trusted again
			_, err := app.ChangePlan(within(t, time.Minute), c)
			return err
		}
		if err := again(wrong); !errors.Is(err, command.ErrUnknown) {
			t.Errorf("a stale If-Match after a forward without an answer: %v", err)
		}
		if err := again(changePlan("premium")); !errors.Is(err, command.ErrUnknown) {
			t.Errorf("what changes nothing after a forward without an answer: %v", err)
		}
		failure = errRefused
		if err := again(wrong); !errors.Is(err, command.ErrVersionConflict) || errors.Is(err, command.ErrUnknown) {
			t.Errorf("a stale If-Match when the owner was certainly not reached: %v", err)
		}
		if err := again(changePlan("premium")); err != nil {
			t.Errorf("what changes nothing when the owner was certainly not reached: %v", err)
		}
		dry := command.AcquireLicense{Meta: meta(), Customer: "ada", TitleID: "film", DeviceID: "phone", DeviceType: "ipad", DryRun: true}
		failure = errLost
		pause(t.Context(), 2*time.Second)
		if _, err := app.AcquireLicense(within(t, time.Minute), dry); err != nil {
			t.Errorf("a dry run after a forward without an answer: %v", err)
		}
	})
}

func TestAnOwnerThatFailedIsLeftAloneForAMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		to := &scripted{forward: func(context.Context, any) (command.Result, error) { return command.Result{}, errRefused }}
		app := newApp(t, memory.NewStore(), elsewhere{}, to)
		for i := range 20 {
			if _, err := app.ChangePlan(within(t, time.Minute), changePlan([]string{"standard", "premium"}[i%2])); err != nil {
				t.Fatal(err)
			}
			pause(t.Context(), 200*time.Millisecond)
		}
		if asked := to.asked.Load(); asked < 3 || asked > 5 {
			t.Errorf("a process that is not there was asked %d times in four seconds", asked)
		}
		to.forward = func(context.Context, any) (command.Result, error) { return command.Result{Version: 99}, nil }
		pause(t.Context(), time.Second)
		for range 3 {
			if r, err := app.ChangePlan(within(t, time.Minute), changePlan("premium")); err != nil || r.Version != 99 || !r.Elsewhere {
				t.Errorf("after it came back: %+v, %v", r, err)
			}
		}
	})
}

func TestAForwardTakesNoMoreThanHalfOfTheCallersTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		to := &scripted{forward: func(ctx context.Context, _ any) (command.Result, error) {
			<-ctx.Done()
			return command.Result{}, errors.Join(command.ErrUnknown, ctx.Err())
		}}
		app := newApp(t, memory.NewStore(), elsewhere{}, to)
		begin := time.Now()
		r, err := app.ChangePlan(within(t, 8*time.Second), changePlan("premium"))
		if took := time.Since(begin); err != nil || r.Version != 1 || took > 5*time.Second {
			t.Errorf("%+v, %v, after %s", r, err, took)
		}
	})
}

func TestWhatWasForwardedIsNotForwardedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		to := &scripted{}
		app := newApp(t, memory.NewStore(), elsewhere{}, to)
		c := changePlan("premium")
		if r, err := app.Local().Do(within(t, time.Minute), &c); err != nil || r.Version != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		if v, err := app.Local().Stream(within(t, time.Minute), domain.CustomerStream("ada")); err != nil || v.Seq != 1 {
			t.Errorf("%+v, %v", v, err)
		}
		if to.asked.Load() != 0 {
			t.Errorf("another process was asked %d times", to.asked.Load())
		}
	})
}

func TestAnAuthoritativeReadIsMadeByTheOwnerOrHere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.NewStore()
		owner := newApp(t, store, here{}, &scripted{})
		if _, err := owner.ChangePlan(within(t, time.Minute), changePlan("premium")); err != nil {
			t.Fatal(err)
		}
		var failure error
		to := &scripted{load: func(ctx context.Context, stream domain.StreamID) (command.Version, error) {
			if failure != nil {
				return command.Version{}, failure
			}
			return owner.Local().Stream(ctx, stream)
		}}
		app := newApp(t, store, elsewhere{}, to)
		for n, fails := range []error{nil, errLost, errRefused, command.ErrDiffers} {
			failure = fails
			pause(t.Context(), 2*time.Second)
			state, err := app.State(within(t, time.Minute), "ada")
			if err != nil || state.Version != 1 || state.State.Plan() != "premium" || to.asked.Load() != int64(n)+1 {
				t.Errorf("with %v: %+v, %v, asked %d times", failure, state, err, to.asked.Load())
			}
		}
	})
}
