package projector

import (
	"context"
	"sync"

	"carryon/domain"
)

// ahead is a log that is read and decoded ahead of its one reader per shard, so that a reader that goes through it from
// the beginning finds the next page ready while it works on the last. It must be closed.
type ahead struct {
	log    Log
	ctx    context.Context // of everything that is read ahead
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu   sync.Mutex
	next map[int]*pageAhead // by shard
}

// pageAhead is a page that is being read, or was.
type pageAhead struct {
	from    uint64
	bytes   int
	entries []domain.Entry
	err     error
	done    chan struct{}
}

var _ Log = (*ahead)(nil)

func readAhead(log Log) *ahead {
	a := &ahead{log: log, next: make(map[int]*pageAhead)}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	return a
}

// Close ends what is under way.
func (a *ahead) Close() {
	a.cancel()
	a.group.Wait()
}

// Fresh is the log itself.
func (a *ahead) Fresh() Log { return a.log }

// Head is the log's.
func (a *ahead) Head(ctx context.Context, shard int) (domain.Head, error) {
	return a.log.Head(ctx, shard)
}

// Read returns the page that was read ahead, when it is the one that is wanted, and begins the next.
func (a *ahead) Read(ctx context.Context, shard int, from uint64, maxBytes int) ([]domain.Entry, error) {
	a.mu.Lock()
	page := a.next[shard]
	delete(a.next, shard)
	a.mu.Unlock()
	if page == nil || page.from != from || page.bytes != maxBytes {
		page = a.begin(shard, from, maxBytes)
	}
	if err := page.wait(ctx); err != nil {
		return nil, err
	}
	if page.err == nil && len(page.entries) == 0 { // there may be more by now
		page = a.begin(shard, from, maxBytes)
		if err := page.wait(ctx); err != nil {
			return nil, err
		}
	}
	if page.err != nil || len(page.entries) == 0 { // at its end, nothing is read ahead
		return page.entries, page.err
	}
	next := a.begin(shard, page.entries[len(page.entries)-1].Index+1, maxBytes)
	a.mu.Lock()
	a.next[shard] = next
	a.mu.Unlock()
	return page.entries, nil
}

func (p *pageAhead) wait(ctx context.Context) error {
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (a *ahead) begin(shard int, from uint64, maxBytes int) *pageAhead {
	page := &pageAhead{from: from, bytes: maxBytes, done: make(chan struct{})}
	a.group.Go(func() {
		defer close(page.done)
		page.entries, page.err = a.log.Read(a.ctx, shard, from, maxBytes)
		for i := range page.entries {
			for j := range page.entries[i].Events {
				page.entries[i].Events[j].Decode()
			}
		}
	})
	return page
}
