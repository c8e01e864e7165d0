package projector

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"carryon/domain"
)

// countedLog is a log of one shard with an entry on every page, which counts how far it was read.
type countedLog struct {
	mu    sync.Mutex
	tail  uint64
	most  uint64 // highest entry that was read
	fails uint64 // the entry that can't be read; 0: none
}

var errUnreadable = errors.New("unreadable")

func (l *countedLog) Head(context.Context, int) (domain.Head, error) { return domain.Head{}, nil }

func (l *countedLog) Read(ctx context.Context, shard int, from uint64, _ int) ([]domain.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case from == l.fails:
		return nil, errUnreadable
	case from > l.tail:
		return nil, nil
	}
	l.most = max(l.most, from)
	return []domain.Entry{{Shard: shard, Index: from}}, nil
}

func (l *countedLog) set(tail, fails uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail, l.fails = tail, fails
}

func TestALogIsReadAheadByAsManyPagesAsMayLieReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &countedLog{tail: 100}
		a := readAhead(log, 2, (*domain.Event).Decode)
		defer a.Close()
		read := func(from uint64) (uint64, error) {
			t.Helper()
			entries, err := a.Read(t.Context(), 1, from, 1000)
			synctest.Wait()
			if err != nil || len(entries) == 0 {
				return 0, err
			}
			return entries[0].Index, nil
		}
		for i := range uint64(100) {
			if got, err := read(i + 1); got != i+1 || err != nil {
				t.Fatalf("entry %d: %d, %v", i+1, got, err)
			}
			if want := min(i+1+aheadPages/2, 100); log.most != want {
				t.Fatalf("with entry %d in hand, it was read up to %d, want %d", i+1, log.most, want)
			}
		}
		if got, err := read(101); got != 0 || err != nil {
			t.Fatalf("beyond the end: %d, %v", got, err)
		}
		log.set(110, 105)
		for i := uint64(101); i < 105; i++ { // it has grown
			if got, err := read(i); got != i || err != nil {
				t.Fatalf("entry %d: %d, %v", i, got, err)
			}
		}
		for range 2 {
			if _, err := read(105); !errors.Is(err, errUnreadable) {
				t.Fatalf("what can't be read: %v", err)
			}
		}
		log.set(110, 0)
		if got, err := read(105); got != 105 || err != nil {
			t.Fatalf("what can be read again: %d, %v", got, err)
		}
		if got, err := read(7); got != 7 || err != nil {
			t.Fatalf("from elsewhere on: %d, %v", got, err)
		}
		if got, err := read(8); got != 8 || err != nil {
			t.Fatalf("and on: %d, %v", got, err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := a.Read(ended, 2, 1, 1000); !errors.Is(err, context.Canceled) {
			t.Errorf("for who has gone: %v", err)
		}
	})
}
