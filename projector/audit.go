package projector

// The audit looks at everything that must agree, and names what does not: the chain of the logs, the seqs of the
// streams, the histories against the log, the checkpoints and parked streams of the read models against the log, and
// rows made anew against the stored ones. It only reads, and may run beside a system that works.

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"carryon/domain"
)

// AuditTarget is what is audited.
type AuditTarget struct {
	Log       Log // the log itself, not a memory of it
	Histories Histories
	Shards    []int
	ShardOf   func(domain.StreamID) int // nil: it is not checked that streams are in their shards
	Models    []AuditedStore
}

// AuditedStore is a read model among what is audited.
type AuditedStore struct {
	Name  string
	Store interface {
		Progress
		Parked(ctx context.Context, after domain.StreamID, limit int) ([]Parked, error)
	}
	Rows Auditable // nil: its rows are not recomputed
	Mend Mendable  // nil: it is not mended
}

// Auditable is a read model whose rows of one stream can be made anew and compared: see Remake.
type Auditable interface {
	// AuditStream says in words how the stored rows of a stream differ from those that its events give; nothing when
	// they agree. The events are those that the model has applied, from seq 1 on.
	AuditStream(ctx context.Context, stream domain.StreamID, events []domain.Event) ([]string, error)
}

// SelfAuditable is an Auditable that has rows of several streams together, as roll-ups.
type SelfAuditable interface {
	// AuditItself says in words what does not agree within the model; nothing when all does.
	AuditItself(ctx context.Context) ([]string, error)
}

// AuditOptions say how thoroughly to audit. The chain and the seqs are always looked at as a whole.
type AuditOptions struct {
	Sample   int                                   // streams whose history and rows are compared; 0: all
	Seed     uint64                                // which ones
	Workers  int                                   // streams that are compared at once; 0: 1
	Progress func(stage string, done, total int64) // may be nil
}

// Audit audits. The error says that the audit could not be done; what it found is in the report.
func Audit(ctx context.Context, target AuditTarget, options AuditOptions) (AuditReport, error) {
	if options.Progress == nil {
		options.Progress = func(string, int64, int64) {}
	}
	options.Workers = max(1, options.Workers)
	a := &audit{AuditTarget: target, AuditOptions: options, report: &AuditReport{}, streams: make(map[domain.StreamID]*auditedStream)}
	a.known = &known{log: target.Log, upTo: map[int]uint64{}, later: map[domain.StreamID]uint64{}}
	a.report.known = a.known
	for _, stage := range []func(context.Context) error{a.readCheckpoints, a.walkLogs, a.compareParked, a.compareStreams, a.compareStrays} {
		if err := stage(ctx); err != nil {
			return *a.report, fmt.Errorf("auditing: %w", err)
		}
	}
	return *a.report, nil
}

// audit is one audit under way.
type audit struct {
	AuditTarget
	AuditOptions
	report      *AuditReport
	checkpoints []map[int]Checkpoint // by model, read before the logs' heads
	streams     map[domain.StreamID]*auditedStream
	known       *known // behind the walk
	broken      bool   // the chain of a log is
	read        readHistory
	overtaken   []overtakenStream
}

// auditedStream is what the log says of a stream: seq and position of its last event, and a digest over all; and the
// same for the part that the histories must hold.
type auditedStream struct {
	shard         int
	seq           uint64
	last          domain.Position
	digest        digest
	derived       uint64
	derivedDigest digest
}

// readCheckpoints comes first: what a model has applied must be in the log that is read afterwards.
func (a *audit) readCheckpoints(ctx context.Context) error {
	for _, model := range a.Models {
		checkpoints, err := model.Store.Checkpoints(ctx)
		if err != nil {
			return fmt.Errorf("reading the checkpoints of %s: %w", model.Name, err)
		}
		a.checkpoints = append(a.checkpoints, checkpoints)
	}
	return nil
}

func (a *audit) walkLogs(ctx context.Context) error {
	for _, shard := range a.Shards {
		derived, err := a.Histories.Progress(ctx, shard)
		if err != nil {
			return fmt.Errorf("reading the progress of shard %d: %w", shard, err)
		}
		head, err := a.Log.Head(ctx, shard)
		if err != nil {
			return fmt.Errorf("reading the head of shard %d: %w", shard, err)
		}
		walked := AuditedShard{Shard: shard, Head: head.Index, Derived: derived}
		if derived > head.Index {
			a.differs("history", fmt.Sprintf("shard %d", shard), "the histories say that they are derived up to entry %d, the log ends at %d", derived, head.Index)
		}
		if err := a.walk(ctx, &walked, head); err != nil {
			return err
		}
		a.report.Shards = append(a.report.Shards, walked)
	}
	return nil
}

// auditPage is how many bytes one read of the audit asks for.
const auditPage = 4 << 20

// walk reads a shard's log up to its head.
func (a *audit) walk(ctx context.Context, walked *AuditedShard, head domain.Head) error {
	shard, where := walked.Shard, fmt.Sprintf("shard %d", walked.Shard)
	var last domain.Entry
	for last.Index < head.Index {
		entries, err := a.Log.Read(ctx, shard, last.Index+1, auditPage)
		if errors.Is(err, ErrHistoryDiffers) {
			a.differs(whatChain, where, "after entry %d: %v", last.Index, err)
			break
		}
		if err != nil {
			return fmt.Errorf("reading entry %d of shard %d: %w", last.Index+1, shard, err)
		}
		if len(entries) == 0 {
			a.differs(whatChain, where, "entry %d is missing, the head is entry %d", last.Index+1, head.Index)
			break
		}
		for i := range entries {
			e := &entries[i]
			if e.Index > head.Index {
				break
			}
			if err := follows(Checkpoint{Index: last.Index, ID: last.ID}, e); err != nil {
				a.differs(whatChain, where, "%v", err)
			}
			if e.RecordedAt.Before(last.RecordedAt) {
				a.differs(whatChain, where, "entry %d was recorded before entry %d", e.Index, last.Index)
			}
			a.meet(e, walked.Derived)
			walked.Entries++
			walked.Events += uint64(len(e.Events))
			last = domain.Entry{Shard: e.Shard, Index: e.Index, ID: e.ID, PreviousID: e.PreviousID, Writer: e.Writer, RecordedAt: e.RecordedAt}
		}
		a.Progress("log of "+where, int64(last.Index), int64(head.Index))
	}
	a.known.upTo[shard] = last.Index
	if last.Index == head.Index && last.ID != head.ID {
		a.differs(whatChain, where, "entry %d is batch %s, the head says %s", last.Index, last.ID, head.ID)
	}
	a.compareCheckpoints(shard, head)
	return nil
}

// meet takes an entry in: its events must go on where their streams were, and a model's checkpoint must name it.
func (a *audit) meet(e *domain.Entry, derived uint64) {
	for i := range e.Events {
		event := &e.Events[i]
		stream := a.streams[event.Stream]
		if stream == nil {
			stream = &auditedStream{shard: e.Shard}
			a.streams[event.Stream] = stream
		}
		a.compareSeq(e, i, stream)
		stream.seq, stream.last = event.Seq, event.Position
		stream.digest = stream.digest.with(event)
		if e.Index <= derived {
			stream.derived, stream.derivedDigest = stream.seq, stream.digest
		}
	}
	for m, model := range a.Models {
		if at := a.checkpoints[m][e.Shard]; at.Index == e.Index && at.ID != e.ID {
			a.differs("checkpoint", model.Name, "applied entry %d of shard %d as batch %s, the log has %s", e.Index, e.Shard, at.ID, e.ID)
		}
	}
}

// compareSeq checks that an event goes on where its stream was.
func (a *audit) compareSeq(e *domain.Entry, place int, stream *auditedStream) {
	event, where := &e.Events[place], string(e.Events[place].Stream)
	at := domain.Position{Shard: e.Shard, Index: e.Index, Place: place}
	switch {
	case event.Position != at:
		a.differs("stream", where, "seq %d stands at %s/%d and says %s/%d", event.Seq, at, at.Place, event.Position, event.Position.Place)
	case stream.shard != e.Shard:
		a.differs("stream", where, "seq %d is in shard %d, earlier ones in shard %d", event.Seq, e.Shard, stream.shard)
	case a.ShardOf != nil && a.ShardOf(event.Stream) != e.Shard:
		a.differs("stream", where, "seq %d is in shard %d, the stream belongs to shard %d", event.Seq, e.Shard, a.ShardOf(event.Stream))
	case event.Seq != stream.seq+1:
		a.differs("stream", where, "seq %d at %s follows on seq %d", event.Seq, at, stream.seq)
	case event.Previous != stream.last:
		a.differs("stream", where, "seq %d says the one before stands at %s/%d, it stands at %s/%d",
			event.Seq, event.Previous, event.Previous.Place, stream.last, stream.last.Place)
	}
}

// compareCheckpoints puts the models' checkpoints beside the head.
func (a *audit) compareCheckpoints(shard int, head domain.Head) {
	for m, model := range a.Models {
		at := a.checkpoints[m][shard].Index
		if at > head.Index {
			a.differs("checkpoint", model.Name, "applied entry %d of shard %d, whose log ends at entry %d", at, shard, head.Index)
		}
		a.report.Models = append(a.report.Models, AuditedModel{
			Model: model.Name, Shard: shard, Applied: at, Tail: head.Index, Lag: head.Index - min(at, head.Index),
		})
	}
}

// sampled are the streams whose history and rows are compared, in order.
func (a *audit) sampled() []domain.StreamID {
	streams := make([]domain.StreamID, 0, len(a.streams))
	for stream := range a.streams {
		streams = append(streams, stream)
	}
	slices.Sort(streams)
	if a.Sample > 0 && a.Sample < len(streams) {
		return sample(streams, a.Sample, a.Seed)
	}
	return streams
}
