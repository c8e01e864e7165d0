package profile

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"carryon/command"
	"carryon/infra/memory"
)

var errAway = errors.New("nobody listens")

// opening is a store that can be opened from the n-th try on.
func opening(tries *int, from int, closed *bool) *later[*memory.Store] {
	return &later[*memory.Store]{
		name: "the store", logger: slog.New(slog.DiscardHandler),
		open: func(context.Context) (*memory.Store, error) {
			if *tries++; *tries < from {
				return nil, errAway
			}
			return memory.NewStore(), nil
		},
		close:  func(*memory.Store) error { *closed = true; return nil },
		passes: func(err error) bool { return errors.Is(err, errAway) },
	}
}

func TestWhatIsNotThereYetIsTriedAgainAndSaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries, closed := 0, false
		l, err := openLater(t.Context(), opening(&tries, 4, &closed))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.get(); !errors.Is(err, command.ErrUnavailable) || !errors.Is(err, errAway) {
			t.Fatalf("before it is there: %v", err)
		}
		time.Sleep(2 * reopenMax) //nolint:forbidigo // pretended time
		synctest.Wait()
		if _, err := l.get(); err != nil || tries != 4 {
			t.Fatalf("after %d tries: %v", tries, err)
		}
		if err := l.Close(); err != nil || !closed {
			t.Fatalf("closed %v, %v", closed, err)
		}
		if _, err := l.get(); !errors.Is(err, command.ErrUnavailable) || !errors.Is(err, command.ErrClosed) {
			t.Fatalf("after closing: %v", err)
		}
	})
}

func TestWhatIsNeverThereEndsWithTheProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries, closed := 0, false
		l, err := openLater(t.Context(), opening(&tries, 1000, &closed))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) //nolint:forbidigo // pretended time
		if err := l.Close(); err != nil || closed || tries < 10 {
			t.Fatalf("closed %v, %d tries, %v", closed, tries, err)
		}
	})
}

func TestAFailureThatDoesNotPassEndsTheStart(t *testing.T) {
	t.Parallel()
	tries, closed := 0, false
	l := opening(&tries, 4, &closed)
	l.passes = func(error) bool { return false }
	if _, err := openLater(t.Context(), l); !errors.Is(err, errAway) {
		t.Fatalf("%v", err)
	}
}
