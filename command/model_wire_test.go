package command_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/memory"
)

// fault is what goes wrong with a call, or between them.
type fault uint32

const (
	none             fault = 0
	claimAnswerLost  fault = 1 << (iota - 1) // a claim is decided, the answer is lost
	claimLost                                // a claim never arrives
	claimDecidedLate                         // a claim is answered "unknown" and decided later
	claimRefused                             // the store says that it did not and will not write
	callFails                                // any other call
	writerCrashes
	writerCrashesClaiming // and what it claims is on its way
	consumerCrashes
	commitAnswerLost // a read model's transaction is committed, and the answer is lost
	holderHangs      // a crashed consumer's transaction keeps its lock until the server ends it
	messageDoubled
	messageLost
	clientLeaves   // and says so
	clientVanishes // and asks elsewhere, while the first still works on it
	logForgets     // its newest entry
	eventIsPoison  // to the projection, until it is fixed
	progressFallsBack
	snapshotsVanish

	claimFaults = claimAnswerLost | claimLost | claimDecidedLate | claimRefused
)

var faultNames = map[fault]string{
	claimAnswerLost: "its answer is lost", claimLost: "it is lost on its way", claimDecidedLate: "it is answered unknown, and decided later",
	claimRefused: "the store refuses", callFails: "it fails", writerCrashes: "crashes", writerCrashesClaiming: "crashes, its claim on the way",
	consumerCrashes: "crashes", commitAnswerLost: "its answer is lost", holderHangs: "crashes, and its lock hangs", messageDoubled: "and once more", messageLost: "or rather does not",
	clientLeaves: "leaves", clientVanishes: "vanishes",
}

// wire is a process's way to the log, the histories and the snapshots: every call is a step of the schedule, and what it
// returns is noted in the process's digest.
type wire struct {
	*memory.Connection
	w *model
}

func (w *model) connect() *wire {
	conn := w.store.Connect()
	x := &wire{Connection: conn, w: w}
	return x
}

var (
	_ command.Log       = (*wire)(nil)
	_ command.Histories = (*wire)(nil)
	_ command.Snapshots = (*wire)(nil)
)

// call lets a call reach the store, or fail before.
func (x *wire) call(name string) error {
	if x.w.reach(name, nil) == callFails {
		x.w.told(1)
		return fmt.Errorf("%s: injected: %w", name, command.ErrUnavailable)
	}
	return nil
}

// note notes what a call returned.
func (x *wire) note(err error, values ...uint64) {
	x.w.told(2, hashError(err))
	x.w.told(values...)
}

func hashError(err error) uint64 {
	if err == nil {
		return 0
	}
	return hashText(err.Error())
}

func hashID(id domain.BatchID) uint64 { return binary.LittleEndian.Uint64(id[:8]) }

func (x *wire) Claim(ctx context.Context, e *domain.Entry) (claimed command.Claimed, err error) {
	lost := fmt.Errorf("claiming entry %d: %w", e.Index, command.ErrUnknown)
	switch x.w.reach("claim", nil) {
	case claimLost:
		err = lost
	case claimDecidedLate:
		x.w.late = append(x.w.late, sent(e))
		err = lost
	case claimRefused:
		err = fmt.Errorf("claiming entry %d: injected: %w", e.Index, command.ErrUnavailable)
	case claimAnswerLost:
		_, err = x.w.decide(x.Connection, e)
		err = errors.Join(err, lost)
	default:
		claimed, err = x.w.decide(x.Connection, e)
	}
	x.note(err, claimed.Head.Index, hashID(claimed.Head.ID), oneIf(claimed.Applied))
	return claimed, err
}

// sent is what is on its way of an entry: what becomes of the writer's own does not change it.
func sent(e *domain.Entry) *domain.Entry {
	c := *e
	c.Events = slices.Clone(e.Events)
	return &c
}

// decide lets the store decide a claim, and looks what has become of the log.
func (w *model) decide(conn *memory.Connection, e *domain.Entry) (command.Claimed, error) {
	claimed, err := conn.Claim(context.Background(), e)
	w.ledger.look(w, e)
	return claimed, err
}

func oneIf(is bool) uint64 {
	if is {
		return 1
	}
	return 0
}

func (x *wire) Head(ctx context.Context, shard int) (head domain.Head, err error) {
	if err := x.call("head"); err != nil {
		return head, err
	}
	head, err = x.Connection.Head(ctx, shard)
	x.note(err, head.Index, hashID(head.ID))
	return head, err
}

func (x *wire) Read(ctx context.Context, shard int, from uint64, maxBytes int) ([]domain.Entry, error) {
	if err := x.call("read the log"); err != nil {
		return nil, err
	}
	entries, err := x.Connection.Read(ctx, shard, from, min(maxBytes, x.w.pageBytes))
	x.note(err, uint64(len(entries)))
	for i := range entries {
		x.w.told(hashID(entries[i].ID))
	}
	return entries, err
}

func (x *wire) Progress(ctx context.Context, shard int) (uint64, error) {
	if err := x.call("read the progress"); err != nil {
		return 0, err
	}
	progress, err := x.Connection.Progress(ctx, shard)
	x.note(err, progress)
	return progress, err
}

func (x *wire) Derive(ctx context.Context, entries []domain.Entry) error {
	if err := x.call("derive"); err != nil {
		return err
	}
	err := x.Connection.Derive(ctx, entries)
	for i := range entries {
		x.w.derived[entries[i].ID] = true
	}
	x.note(err)
	return err
}

func (x *wire) ReadStream(ctx context.Context, stream domain.StreamID, from uint64, maxBytes int) ([]domain.Event, error) {
	if err := x.call("read the history"); err != nil {
		return nil, err
	}
	events, err := x.Connection.ReadStream(ctx, stream, from, min(maxBytes, x.w.pageBytes))
	x.note(err, uint64(len(events)))
	for i := range events {
		x.w.told(events[i].Position.Index, hashText(events[i].ID))
	}
	return events, err
}

func (x *wire) LoadSnapshot(ctx context.Context, stream domain.StreamID) (command.Snapshot, bool, error) {
	if err := x.call("read the snapshot"); err != nil {
		return command.Snapshot{}, false, err
	}
	snapshot, ok, err := x.Connection.LoadSnapshot(ctx, stream)
	x.note(err, oneIf(ok), snapshot.Seq, snapshot.Position.Index)
	return snapshot, ok, err
}

func (x *wire) SaveSnapshots(ctx context.Context, snapshots []command.Snapshot) error {
	if err := x.call("save snapshots"); err != nil {
		return err
	}
	err := x.Connection.SaveSnapshots(ctx, snapshots)
	for i := range snapshots {
		x.w.snapshots[snapshots[i].Stream] = mix(snapshots[i].Seq, snapshots[i].Position.Index)
	}
	x.note(err)
	return err
}
