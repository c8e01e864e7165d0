package codec

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"carryon/command"
	"carryon/domain"
)

// What of an event need not be written. The bits stand before each event as two bytes.
const (
	sameStream uint16 = 1 << iota
	nextSeq           // the seq after that of the event before
	sameType          // and schema version
	sameCommand
	sameHash
	sameCorrelation
	sameCausation
	sameActor
	sameVersions
	previousHere    // the stream's previous event is the event before
	previousNone    // the stream's first event
	recordedAsEntry // recorded_at is the entry's
	occurredAsRecorded
	recordedNanos // the time is finer than microseconds
	occurredNanos
)

// builder gathers events into frames and packs these.
type builder struct {
	raw    []byte // the frame being gathered
	events int    // in it
	total  int    // bytes of all frames
	frames []frame
	packed []byte
	pack   func(raw, into []byte) []byte
}

var (
	builders = sync.Pool{New: func() any { return &builder{raw: make([]byte, 0, 2*targetFrame)} }}
	scratch  = sync.Pool{New: func() any { b := make([]byte, 0, 2*targetFrame); return &b }}
)

func (b *builder) release() {
	b.raw, b.frames, b.packed = b.raw[:0], b.frames[:0], b.packed[:0]
	b.events, b.total = 0, 0
	if cap(b.raw)+cap(b.packed) <= 4*maxFrame { // one huge entry should not hold memory for ever
		builders.Put(b)
	}
}

func (b *builder) addAll(e *domain.Entry) error {
	var before *domain.Event
	for i := range e.Events {
		event := &e.Events[i]
		if event.Position != (domain.Position{Shard: e.Shard, Index: e.Index, Place: i}) {
			return fmt.Errorf("event %d of %s has position %+v at place %d", event.Seq, event.Stream, event.Position, i)
		}
		start := len(b.raw)
		b.add(e, event, before)
		if n := len(b.raw) - start; n > MaxEventBytes {
			return fmt.Errorf("event %d of %s takes %d bytes, at most %d fit: %w", event.Seq, event.Stream, n, MaxEventBytes, command.ErrTooLarge)
		}
		before = event
		if b.events++; len(b.raw) >= targetFrame {
			b.closeFrame()
			before = nil
		}
		if b.total+len(b.raw) > MaxBytes {
			return fmt.Errorf("more than %d bytes: %w", MaxBytes, command.ErrTooLarge)
		}
	}
	if b.events > 0 {
		b.closeFrame()
	}
	return nil
}

func (b *builder) closeFrame() {
	start := len(b.packed)
	b.packed = b.pack(b.raw, b.packed)
	if len(b.packed)-start >= len(b.raw) {
		b.packed = append(b.packed[:start], b.raw...)
	}
	b.frames = append(b.frames, frame{events: b.events, raw: len(b.raw), stored: len(b.packed) - start})
	b.total += len(b.raw)
	b.raw, b.events = b.raw[:0], 0
}

var nothing domain.Event

// add writes an event; before is the one before it in the frame, nil for the first.
func (b *builder) add(e *domain.Entry, event, before *domain.Event) {
	if before == nil {
		before = &nothing
	}
	bits := differences(e, event, before)
	w := binary.LittleEndian.AppendUint16(b.raw, bits)
	w = appendString(w, event.ID)
	if bits&sameStream == 0 {
		w = appendString(w, string(event.Stream))
	}
	if bits&nextSeq == 0 {
		w = binary.AppendUvarint(w, event.Seq)
	}
	if bits&sameType == 0 {
		w = appendString(w, event.Type)
		w = binary.AppendVarint(w, int64(event.SchemaVersion))
	}
	for _, s := range []struct {
		bit  uint16
		text string
	}{{sameCommand, event.CommandID}, {sameHash, event.RequestHash}, {sameCorrelation, event.Correlation}, {sameCausation, event.Causation}} {
		if bits&s.bit == 0 {
			w = appendString(w, s.text)
		}
	}
	if bits&sameActor == 0 {
		w = appendString(w, event.Actor.ID)
		w = appendString(w, string(event.Actor.Role))
	}
	if bits&sameVersions == 0 {
		w = binary.AppendVarint(w, int64(event.Versions.Policy))
		w = binary.AppendVarint(w, int64(event.Versions.Plan))
		w = binary.AppendVarint(w, int64(event.Versions.DeviceTypes))
		w = appendString(w, event.Versions.Catalogue)
		w = binary.AppendUvarint(w, event.Versions.Reference)
	}
	if bits&(previousHere|previousNone) == 0 {
		w = binary.AppendVarint(w, int64(event.Previous.Shard))
		w = binary.AppendUvarint(w, e.Index-event.Previous.Index)
		w = binary.AppendVarint(w, int64(event.Previous.Place))
	}
	if bits&recordedAsEntry == 0 {
		w = appendTime(w, event.RecordedAt, entryTime(e), bits&recordedNanos)
	}
	if bits&occurredAsRecorded == 0 {
		w = appendTime(w, event.OccurredAt, event.RecordedAt, bits&occurredNanos)
	}
	w = binary.AppendUvarint(w, uint64(len(event.Payload)))
	b.raw = append(w, event.Payload...)
}

func differences(e *domain.Entry, event, before *domain.Event) uint16 {
	var bits uint16
	set := func(bit uint16, holds bool) {
		if holds {
			bits |= bit
		}
	}
	set(sameStream, event.Stream == before.Stream)
	set(nextSeq, event.Seq == before.Seq+1)
	set(sameType, event.Type == before.Type && event.SchemaVersion == before.SchemaVersion)
	set(sameCommand, event.CommandID == before.CommandID)
	set(sameHash, event.RequestHash == before.RequestHash)
	set(sameCorrelation, event.Correlation == before.Correlation)
	set(sameCausation, event.Causation == before.Causation)
	set(sameActor, event.Actor == before.Actor)
	set(sameVersions, event.Versions == before.Versions)
	set(previousHere, event.Position.Place > 0 && event.Previous == domain.Position{Shard: e.Shard, Index: e.Index, Place: event.Position.Place - 1})
	set(previousNone, event.Previous == domain.Position{})
	set(recordedAsEntry, event.RecordedAt.Equal(entryTime(e)))
	set(occurredAsRecorded, event.OccurredAt.Equal(event.RecordedAt))
	set(recordedNanos, bits&recordedAsEntry == 0 && event.RecordedAt.Nanosecond()%1000 != 0)
	set(occurredNanos, bits&occurredAsRecorded == 0 && event.OccurredAt.Nanosecond()%1000 != 0)
	return bits
}

// entryTime is the entry's time as stores keep it.
func entryTime(e *domain.Entry) time.Time { return time.UnixMicro(e.RecordedAt.UnixMicro()).UTC() }

// appendTime writes t in microseconds after base, and what is finer where the bit says so.
func appendTime(w []byte, t, base time.Time, nanos uint16) []byte {
	w = binary.AppendVarint(w, t.UnixMicro()-base.UnixMicro())
	if nanos != 0 {
		w = binary.AppendUvarint(w, uint64(t.Nanosecond()%1000))
	}
	return w
}

func appendString(w []byte, s string) []byte {
	w = binary.AppendUvarint(w, uint64(len(s)))
	return append(w, s...)
}

// eventReader reads the events of a frame. Texts are made when an event is wanted, and only once: what an event shares
// with the one before it stays the same string.
type eventReader struct {
	reader
	entry *domain.Entry
	event domain.Event // the last one; its texts are those of the last one that was wanted

	id, stream, kind, command, hash, correlation, causation, actor, role, catalogue text
}

// text is a text of the frame, and the string that was made of it.
type text struct {
	raw  []byte
	made bool
	s    string
}

func (t *text) string() string {
	if !t.made {
		t.s, t.made = string(t.raw), true
	}
	return t.s
}

// next reads the event at a place. Its payload is a part of the frame, everything else is its own.
func (r *eventReader) next(place int, into *domain.Event) error {
	if err := r.skip(place); err != nil {
		return err
	}
	e := &r.event
	e.ID, e.Stream, e.Type = r.id.string(), domain.StreamID(r.stream.string()), r.kind.string()
	e.CommandID, e.RequestHash = r.command.string(), r.hash.string()
	e.Correlation, e.Causation = r.correlation.string(), r.causation.string()
	e.Actor = domain.Actor{ID: r.actor.string(), Role: domain.Role(r.role.string())}
	e.Versions.Catalogue = r.catalogue.string()
	*into = *e
	return nil
}

// skip reads the event at a place without its texts.
func (r *eventReader) skip(place int) error {
	if len(r.data) < 2 {
		r.fail(errShort)
		return r.err
	}
	bits := binary.LittleEndian.Uint16(r.data)
	r.data = r.data[2:]
	event, e := &r.event, r.entry
	event.Position = domain.Position{Shard: e.Shard, Index: e.Index, Place: place}
	r.text(&r.id, 0, 0)
	r.text(&r.stream, bits, sameStream)
	event.Seq++
	if bits&nextSeq == 0 {
		event.Seq = r.uvarint()
	}
	r.text(&r.kind, bits, sameType)
	if bits&sameType == 0 {
		event.SchemaVersion = r.number()
	}
	r.text(&r.command, bits, sameCommand)
	r.text(&r.hash, bits, sameHash)
	r.text(&r.correlation, bits, sameCorrelation)
	r.text(&r.causation, bits, sameCausation)
	r.text(&r.actor, bits, sameActor)
	r.text(&r.role, bits, sameActor)
	r.versions(bits)
	r.previous(bits, place)
	event.RecordedAt = entryTime(e)
	if bits&recordedAsEntry == 0 {
		event.RecordedAt = r.time(event.RecordedAt, bits&recordedNanos)
	}
	event.OccurredAt = event.RecordedAt
	if bits&occurredAsRecorded == 0 {
		event.OccurredAt = r.time(event.RecordedAt, bits&occurredNanos)
	}
	event.Payload = r.bytes()
	return r.err
}

// text reads a text, unless the bit says that it is that of the event before.
func (r *eventReader) text(t *text, bits, same uint16) {
	if bits&same == 0 {
		*t = text{raw: r.bytes()}
	}
}

func (r *eventReader) versions(bits uint16) {
	if bits&sameVersions == 0 {
		r.event.Versions.Policy, r.event.Versions.Plan, r.event.Versions.DeviceTypes = r.number(), r.number(), r.number()
		r.text(&r.catalogue, 0, 0)
		r.event.Versions.Reference = r.uvarint()
	}
}

func (r *eventReader) previous(bits uint16, place int) {
	e := r.entry
	switch {
	case bits&previousNone != 0:
		r.event.Previous = domain.Position{}
	case bits&previousHere != 0:
		r.event.Previous = domain.Position{Shard: e.Shard, Index: e.Index, Place: place - 1}
	default:
		r.event.Previous = domain.Position{Shard: r.number(), Index: e.Index - r.uvarint(), Place: r.number()}
	}
}

// end says whether the frame held anything else.
func (r *eventReader) end() error {
	if r.err == nil && len(r.data) > 0 {
		r.fail(fmt.Errorf("%d bytes after the last event", len(r.data)))
	}
	return r.err
}

func (r *reader) number() int {
	v := r.varint()
	if int64(int(v)) != v {
		r.fail(fmt.Errorf("number %d is out of range", v))
		return 0
	}
	return int(v)
}

func (r *reader) time(base time.Time, nanos uint16) time.Time {
	t := time.UnixMicro(base.UnixMicro() + r.varint()).UTC()
	if nanos != 0 {
		t = t.Add(time.Duration(r.count(999)))
	}
	return t
}
