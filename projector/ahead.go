package projector

import (
	"context"
	"sync"

	"carryon/domain"
)

// ahead is a log that is read and decoded ahead of its one reader per shard, so that a reader that goes through it from
// the beginning finds the next pages ready while it works on the last ones: as many as a transaction takes. It must be
// closed.
type ahead struct {
	log    Log
	pages  int                 // that may lie ready for a shard
	open   func(*domain.Event) // decodes what the reader needs
	ctx    context.Context     // of everything that is read ahead
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu   sync.Mutex
	runs map[int]*aheadRun // by shard
}

// aheadRun reads a shard page after page, up to its end.
type aheadRun struct {
	next   uint64 // what the next page begins with; of the reader
	bytes  int
	pages  chan page // closed at the end
	cancel context.CancelFunc
}

type page struct {
	entries []domain.Entry
	err     error
}

var _ Log = (*ahead)(nil)

// aheadPages are what all shards together may have ready: in the embedded profile, of whose two shards one is all but
// empty, about as much as a transaction of a rebuild takes.
const aheadPages = 24

func readAhead(log Log, shards int, open func(*domain.Event)) *ahead {
	a := &ahead{log: log, open: open, pages: max(1, aheadPages/max(1, shards)), runs: make(map[int]*aheadRun)}
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

// Read returns the page that was read ahead, when it is the one that is wanted. Else it reads it, and begins to read
// what follows.
func (a *ahead) Read(ctx context.Context, shard int, from uint64, maxBytes int) ([]domain.Entry, error) {
	if run := a.running(shard, from, maxBytes); run != nil {
		select {
		case p, more := <-run.pages:
			if more && p.err == nil {
				run.next = p.entries[len(p.entries)-1].Index + 1
				return p.entries, nil
			}
			if p.err != nil {
				a.stop(shard, run)
				return nil, p.err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		a.stop(shard, run) // it came to the end: there may be more by now
	}
	entries, err := a.log.Read(ctx, shard, from, maxBytes)
	if err == nil && len(entries) > 0 {
		a.start(shard, entries[len(entries)-1].Index+1, maxBytes)
	}
	return entries, err
}

// running is the run of a shard, when its next page is the one that is wanted. Another one is stopped.
func (a *ahead) running(shard int, from uint64, maxBytes int) *aheadRun {
	a.mu.Lock()
	run := a.runs[shard]
	a.mu.Unlock()
	if run != nil && (run.next != from || run.bytes != maxBytes) {
		a.stop(shard, run)
		return nil
	}
	return run
}

func (a *ahead) stop(shard int, run *aheadRun) {
	run.cancel()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.runs[shard] == run {
		delete(a.runs, shard)
	}
}

func (a *ahead) start(shard int, from uint64, maxBytes int) {
	ctx, cancel := context.WithCancel(a.ctx)
	run := &aheadRun{next: from, bytes: maxBytes, pages: make(chan page, a.pages-1), cancel: cancel} // and one in hand
	a.mu.Lock()
	a.runs[shard] = run
	a.mu.Unlock()
	a.group.Go(func() {
		defer cancel()
		defer close(run.pages)
		for more := true; more; {
			p := page{}
			p.entries, p.err = a.log.Read(ctx, shard, from, maxBytes)
			if p.err == nil && len(p.entries) == 0 {
				return
			}
			for i := range p.entries {
				for j := range p.entries[i].Events {
					a.open(&p.entries[i].Events[j])
				}
				from = p.entries[i].Index + 1
			}
			select {
			case run.pages <- p:
				more = p.err == nil
			case <-ctx.Done():
				return
			}
		}
	})
}
