package watermill

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"carryon/domain"
	"carryon/infra/codec"
)

// EntryCodec writes a whole entry: what its header says, and then its events as infra/codec writes them, whose checksum
// covers both.
//
//	version      1 byte
//	shard, index uvarint
//	id, previous 16 bytes each
//	recorded_at  varint, microseconds since 1970
//	writer       uvarint length, bytes
//	events       the rest
type EntryCodec struct{}

var _ Codec = EntryCodec{}

// entryVersion is the format that this program writes, and the only one that it reads.
const entryVersion = 1

var errCutShort = errors.New("it is cut short")

// Encode writes an entry.
func (EntryCodec) Encode(e *domain.Entry) ([]byte, error) {
	events, err := codec.EncodeEvents(e)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, 64+len(e.Writer)+len(events))
	b = append(b, entryVersion)
	b = binary.AppendUvarint(b, uint64(e.Shard))
	b = binary.AppendUvarint(b, e.Index)
	b = append(append(b, e.ID[:]...), e.PreviousID[:]...)
	b = binary.AppendVarint(b, e.RecordedAt.UnixMicro())
	b = binary.AppendUvarint(b, uint64(len(e.Writer)))
	b = append(b, e.Writer...)
	return append(b, events...), nil
}

// Decode reads an entry. Bytes that are not one are an error, whatever they are.
func (EntryCodec) Decode(data []byte) (*domain.Entry, error) {
	e := &domain.Entry{}
	r := &reader{rest: data}
	if version := r.bytes(1); r.err == nil && version[0] != entryVersion {
		return nil, fmt.Errorf("the message is of version %d, this program reads %d: %w", version[0], entryVersion, domain.ErrFutureVersion)
	}
	shard := r.uvarint()
	e.Index = r.uvarint()
	copy(e.ID[:], r.bytes(len(e.ID)))
	copy(e.PreviousID[:], r.bytes(len(e.PreviousID)))
	e.RecordedAt = time.UnixMicro(r.varint()).UTC()
	e.Writer = string(r.bytes(int(min(r.uvarint(), maxWriter+1))))
	if r.err == nil && (shard > maxShard || e.Index == 0 || len(e.Writer) > maxWriter) {
		r.err = errors.New("its header makes no sense")
	}
	if r.err != nil {
		return nil, fmt.Errorf("reading a message: %w", r.err)
	}
	e.Shard = int(shard)
	if err := codec.DecodeEvents(e, r.rest); err != nil {
		return nil, fmt.Errorf("reading a message: %w", err)
	}
	return e, nil
}

// What a header may say at most.
const (
	maxShard  = 1 << 20
	maxWriter = 1 << 10
)

// reader takes a header apart, and remembers the first thing that went wrong.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) bytes(n int) []byte {
	if r.err == nil && n > len(r.rest) {
		r.err = errCutShort
	}
	if r.err != nil {
		return make([]byte, n)
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) uvarint() uint64 {
	value, n := binary.Uvarint(r.rest)
	r.skip(n)
	return value
}

func (r *reader) varint() int64 {
	value, n := binary.Varint(r.rest)
	r.skip(n)
	return value
}

func (r *reader) skip(n int) {
	if n <= 0 && r.err == nil {
		r.err = errCutShort
	}
	if r.err == nil {
		r.rest = r.rest[n:]
	}
}
