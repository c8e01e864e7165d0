package command

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"carryon/domain"
)

// A stream in memory: the domain's state of it, what it remembers of its commands, and where it stands. All of it is a
// fold of the stream's events up to seq, so it can be thrown away at any time.
type folded struct {
	state    domain.Aggregate
	memory   memory
	seq      uint64
	position domain.Position // of the event with that seq
	recorded time.Time       // of that event
}

// apply folds the event after the last. It fails with ErrDiffers when that is not what e is.
func (f *folded) apply(e *domain.Event, keep time.Duration) error {
	if e.Seq != f.seq+1 || e.Previous != f.position {
		return fmt.Errorf("event %d of %s at %s.%d, after that at %s, follows event %d at %s: %w",
			e.Seq, e.Stream, e.Position, e.Position.Place, e.Previous, f.seq, f.position, ErrDiffers)
	}
	if err := guarded(func() error { return f.state.Apply(e) }); err != nil {
		return fmt.Errorf("folding event %d of %s: %w", e.Seq, e.Stream, err)
	}
	f.advance(e, keep)
	return nil
}

// advance moves everything but the state, which holds the event already.
func (f *folded) advance(e *domain.Event, keep time.Duration) {
	f.memory.record(e, keep)
	f.seq, f.position, f.recorded = e.Seq, e.Position, e.RecordedAt
}

func (f *folded) size() int { return f.state.Size() + f.memory.size() + 256 }

// guarded turns a panic into an error, so that what one stream holds can't take a shard down.
func guarded(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return f()
}

// tooNew tells whether an event can't be read because this program is too old for it.
func tooNew(err error) bool {
	return errors.Is(err, domain.ErrFutureVersion) || errors.Is(err, domain.ErrUnknownEventType)
}

// A snapshot holds, after its own version, what the writer keeps beside the state, and then the state.
const snapshotVersion = 1

// encoded is what a snapshot of the stream holds.
func (f *folded) encoded() (string, error) {
	buffer, _ := snapshotBuffers.Get().(*[]byte)
	data := append((*buffer)[:0], snapshotVersion)
	data = binary.AppendVarint(data, f.recorded.UnixMicro())
	data = f.memory.appendTo(data)
	data, err := f.state.AppendBinary(data)
	if err != nil {
		return "", err
	}
	own := string(data)
	if cap(data) <= maxPooledSnapshot {
		*buffer = data
		snapshotBuffers.Put(buffer)
	}
	return own, nil
}

// snapshotBuffers are kept: each command may freeze a stream, whose snapshot then takes memory of its own once, of the right size.
var snapshotBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

const maxPooledSnapshot = 64 << 10

// frozen is a stream in one piece of memory without pointers. A string, since what is thawed shares it.
type frozen struct {
	seq      uint64
	position domain.Position
	data     string
}

func (f *folded) freeze() (*frozen, error) {
	data, err := f.encoded()
	if err != nil {
		return nil, err
	}
	return &frozen{seq: f.seq, position: f.position, data: data}, nil
}

// snapshot is what is saved of a frozen stream.
func (z *frozen) snapshot(stream domain.StreamID, foldVersion int) Snapshot {
	return Snapshot{Stream: stream, Seq: z.seq, Position: z.position, FoldVersion: foldVersion, Data: []byte(z.data)}
}

// thaw reads a frozen stream back. Any error means that it is of no use, and that the events are to be folded instead.
func (z *frozen) thaw(stream domain.StreamID, folding *Folding) (*folded, error) {
	if z.data == "" || z.data[0] != snapshotVersion {
		return nil, fmt.Errorf("snapshot of %s: not of version %d: %w", stream, snapshotVersion, errDamaged)
	}
	r := snapshotReader{rest: z.data[1:]}
	recorded := time.UnixMicro(r.varint()).UTC()
	memory, rest, err := readMemory(r.rest)
	if err != nil {
		return nil, fmt.Errorf("snapshot of %s: %w", stream, err)
	}
	state, err := folding.Restore(stream, rest)
	if err != nil {
		return nil, fmt.Errorf("snapshot of %s: %w", stream, err)
	}
	return &folded{state: state, memory: memory, seq: z.seq, position: z.position, recorded: recorded}, nil
}

// restore reads a snapshot back, as thaw does.
func restore(s *Snapshot, folding *Folding) (*folded, error) {
	if s.FoldVersion != folding.Version {
		return nil, fmt.Errorf("snapshot of %s has fold version %d, this program folds version %d", s.Stream, s.FoldVersion, folding.Version)
	}
	z := frozen{seq: s.Seq, position: s.Position, data: string(s.Data)}
	return z.thaw(s.Stream, folding)
}
