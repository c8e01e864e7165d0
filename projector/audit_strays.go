package projector

// Rows of streams that the log does not know are found from the other side: a model says whose rows it has, and then the
// log is read on to where it ends by then. What a model has applied was in the log before; so a stream that is not in it
// even now never was, whatever is projected meanwhile.

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"carryon/domain"
)

// Listing is an Auditable that can say whose rows it has.
type Listing interface {
	// Holders are those that the model has rows of, each at least once.
	Holders(ctx context.Context) iter.Seq2[Holder, error]
	// HolderNames are the names under which rows of a stream are held: its own; and where rows carry a hash in its
	// place, what stands for that.
	HolderNames(stream domain.StreamID) []domain.StreamID
}

// Holder is a stream that rows are of, or what stands for it.
type Holder struct {
	Name domain.StreamID
	Seq  uint64 // the highest that is known of it, in a model whose AuditStream leaves rows behind the last event aside; else 0
}

// AuditsBeyond is an Auditable that leaves rows behind the last applied event aside when it compares a stream.
type AuditsBeyond interface {
	// AuditBeyond says in words what is stored of a stream behind a seq; 0: all of it.
	AuditBeyond(ctx context.Context, stream domain.StreamID, seq uint64) ([]string, error)
}

// ByStream is a part of a Listing whose rows carry their streams' names.
type ByStream struct{}

// HolderNames is the stream's name.
func (ByStream) HolderNames(stream domain.StreamID) []domain.StreamID {
	return []domain.StreamID{stream}
}

// Each yields a holder for each name; it ends with the error, if there is one.
func Each(names []domain.StreamID, err error) iter.Seq2[Holder, error] {
	return func(yield func(Holder, error) bool) {
		for _, name := range names {
			if !yield(Holder{Name: name}, nil) {
				return
			}
		}
		if err != nil {
			yield(Holder{}, err)
		}
	}
}

// known is what the log says of streams, from its beginning to where it was last read.
type known struct {
	log   Log
	upTo  map[int]uint64             // by shard
	later map[domain.StreamID]uint64 // newest seqs of those that came after the walk
}

// readOn reads the logs on to their ends.
func (k *known) readOn(ctx context.Context) error {
	for _, shard := range slices.Sorted(maps.Keys(k.upTo)) {
		for {
			entries, err := k.log.Read(ctx, shard, k.upTo[shard]+1, auditPage)
			if err != nil {
				return fmt.Errorf("reading entry %d of shard %d: %w", k.upTo[shard]+1, shard, err)
			}
			if len(entries) == 0 {
				break
			}
			for i := range entries {
				for j := range entries[i].Events {
					e := &entries[i].Events[j]
					k.later[e.Stream] = max(k.later[e.Stream], e.Seq)
				}
			}
			k.upTo[shard] = entries[len(entries)-1].Index
		}
	}
	return nil
}

// end is the seq of the last event under a holder's name, as far as it came after the walk.
func (k *known) end(listing Listing, name domain.StreamID) uint64 {
	seq := k.later[name]
	for stream, last := range k.later {
		if slices.Contains(listing.HolderNames(stream), name) {
			seq = max(seq, last)
		}
	}
	return seq
}

// copied is for one who reads on by himself.
func (k *known) copied() *known {
	return &known{log: k.log, upTo: maps.Clone(k.upTo), later: maps.Clone(k.later)}
}

// compareStrays finds rows of streams that are not in the log, or behind their ends there. A sample says nothing of them,
// and neither does a log whose chain is broken, which is named already.
func (a *audit) compareStrays(ctx context.Context) error {
	if a.Sample > 0 && a.Sample < len(a.streams) || a.broken {
		return nil
	}
	for m := range a.Models {
		model := &a.Models[m]
		if listing, can := model.Rows.(Listing); can {
			if err := a.compareStraysOf(ctx, model, listing); err != nil {
				return fmt.Errorf("looking for rows of no stream in %s: %w", model.Name, err)
			}
		}
		a.Progress("rows of unknown streams", int64(m+1), int64(len(a.Models)))
	}
	return nil
}

func (a *audit) compareStraysOf(ctx context.Context, model *AuditedStore, listing Listing) error {
	strays := map[domain.StreamID]uint64{}
	for holder, err := range listing.Holders(ctx) {
		if err != nil {
			return err
		}
		if a.end(holder.Name) < max(1, holder.Seq) {
			strays[holder.Name] = max(strays[holder.Name], holder.Seq)
		}
	}
	if len(strays) == 0 {
		return nil
	}
	if err := a.known.readOn(ctx); err != nil {
		if errors.Is(err, ErrHistoryDiffers) { // while it was read, by the next look
			a.differs(whatChain, "log", "%v", err)
			return nil
		}
		return err
	}
	belongs := func(stream domain.StreamID, end uint64) {
		for _, name := range listing.HolderNames(stream) {
			if seq, is := strays[name]; is && seq <= end {
				delete(strays, name)
			}
		}
	}
	for stream, last := range a.streams {
		belongs(stream, last.seq)
	}
	for stream, seq := range a.known.later {
		belongs(stream, seq)
	}
	for _, name := range slices.Sorted(maps.Keys(strays)) {
		wrong := WrongRows{Model: model.Name, Shard: a.homeOf(name), Stream: name, Stray: true, End: a.end(name)}
		if len(a.report.Wrong) >= maxWrong {
			a.report.MoreWrong = true
			a.report.More++
			continue
		}
		if err := a.compareStray(ctx, model, wrong); err != nil {
			return err
		}
	}
	return nil
}

// end is the newest seq of a stream in the log, as far as it was read; 0: the log does not know it.
func (a *audit) end(stream domain.StreamID) uint64 {
	seq := a.known.later[stream]
	if s := a.streams[stream]; s != nil {
		seq = max(seq, s.seq)
	}
	return seq
}

// homeOf is the shard under whose lock rows of a stream are changed.
func (a *audit) homeOf(stream domain.StreamID) int {
	if a.ShardOf != nil {
		return a.ShardOf(stream)
	}
	if s := a.streams[stream]; s != nil {
		return s.shard
	}
	return slices.Min(a.Shards)
}

// compareStray names what is stored of a stream behind its end in the log. Meanwhile the stream may have begun or gone
// on; then it is looked at again, and what it has now is for the next audit.
func (a *audit) compareStray(ctx context.Context, model *AuditedStore, wrong WrongRows) error {
	for end := wrong.End; ; {
		words, err := strayWords(ctx, model, wrong.Stream, end)
		if err != nil || len(words) == 0 {
			return err
		}
		remembered, err := a.isRemembered(ctx, wrong.Stream)
		if err != nil {
			return err
		}
		if err := a.known.readOn(ctx); err != nil {
			return err
		}
		listing, _ := model.Rows.(Listing)
		now := max(end, a.known.end(listing, wrong.Stream))
		if now == end {
			if end == 0 && remembered { // whoever took it out of the log forgot that: now nothing must be taken away
				a.differs("history", string(wrong.Stream), "it has events, the log knows nothing of it")
			}
			a.rowsDiffer(wrong, words)
			return nil
		}
		end = now
	}
}

// isRemembered tells whether a stream has a history.
func (a *audit) isRemembered(ctx context.Context, stream domain.StreamID) (bool, error) {
	events, err := a.Histories.ReadStream(ctx, stream, 1, 1)
	if errors.Is(err, ErrHistoryDiffers) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the history of %s: %w", stream, err)
	}
	return len(events) > 0, nil
}

func strayWords(ctx context.Context, model *AuditedStore, stream domain.StreamID, end uint64) ([]string, error) {
	var words []string
	var err error
	beyond, leaves := model.Rows.(AuditsBeyond)
	switch {
	case leaves:
		words, err = beyond.AuditBeyond(ctx, stream, end)
	case end == 0:
		words, err = auditStream(ctx, model, stream, nil)
	}
	says := " (the log knows nothing of it)"
	if end > 0 {
		says = fmt.Sprintf(" (in the log it ends at seq %d)", end)
	}
	for i := range words {
		words[i] += says
	}
	return words, err
}
