// Package compact packs what no row of a read model is found by: compressed, and read only when a row is shown.
package compact

import (
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/s2"

	"carryon/domain"
)

// Events are short and alike, so they are compressed against a dictionary of typical ones: half the size of compressing
// each by itself, in a tenth of the time that zstd takes.
//
// The dictionary is one to six events of each type, as Event lays them out, of a made-up history
// (conformance.NewHistory(7, 40, 1)). It belongs to the format: with another one, what was packed can't be read. Whoever changes it raises the
// versions of the schemas that pack.

//go:embed packed.dict
var packedDictionary []byte

var dictionary = sync.OnceValue(func() *s2.Dict { return s2.MakeDict(packedDictionary, nil) })

// maxUnpacked is the most that a packed value may hold: an event has at most 256 KiB of payload.
const maxUnpacked = 4 << 20

// Pack compresses.
func Pack(data []byte) []byte { return AppendPacked(nil, data) }

// AppendPacked compresses, behind what is there.
func AppendPacked(into, data []byte) []byte {
	r, _ := rooms.Get().(*room)
	defer r.giveBack()
	return r.appendPacked(into, data)
}

// room is where something is packed. What the compressor writes to is many times longer than what comes of it.
type room struct{ head, plain, packed []byte }

var rooms = sync.Pool{New: func() any { return new(room) }}

// keptRoom is the most that is kept for the next one.
const keptRoom = 64 << 10

func (r *room) giveBack() {
	if cap(r.head)+cap(r.plain)+cap(r.packed) <= keptRoom {
		rooms.Put(r)
	}
}

func (r *room) appendPacked(into, data []byte) []byte {
	r.packed = slices.Grow(r.packed[:0], max(0, s2.MaxEncodedLen(len(data))))
	return append(into, dictionary().Encode(r.packed[:cap(r.packed)], data)...)
}

// Unpack undoes Pack.
func Unpack(packed []byte) ([]byte, error) {
	n, err := s2.DecodedLen(packed)
	if err != nil {
		return nil, err
	}
	if n > maxUnpacked {
		return nil, fmt.Errorf("%d bytes are more than anything that is packed", n)
	}
	return dictionary().Decode(nil, packed)
}

// rest is what an event has besides the columns of its row.
type rest struct {
	ID          string          `json:"i"`
	Schema      int             `json:"s"`
	Occurred    int64           `json:"o,omitempty"` // where it is not the moment of recording
	Command     string          `json:"c,omitempty"`
	Hash        string          `json:"h,omitempty"`
	Correlation string          `json:"r,omitempty"`
	Causation   string          `json:"u,omitempty"`
	Versions    domain.Versions `json:"v"`
	Previous    domain.Position `json:"p"`
}

// Event packs what rows do not hold in columns: all but stream, seq, position, type, actor and the moment of recording.
func Event(e *domain.Event) ([]byte, error) {
	r := rest{
		ID: e.ID, Schema: e.SchemaVersion, Command: e.CommandID, Hash: e.RequestHash, Correlation: e.Correlation,
		Causation: e.Causation, Versions: e.Versions, Previous: e.Previous,
	}
	if !e.OccurredAt.Equal(e.RecordedAt) {
		r.Occurred = micros(e.OccurredAt)
	}
	here, _ := rooms.Get().(*room)
	defer here.giveBack()
	var plain bool
	if here.head, plain = appendRest(here.head[:0], &r); !plain {
		var err error
		if here.head, err = json.Marshal(r); err != nil {
			return nil, fmt.Errorf("pack event %s: %w", e.ID, err)
		}
	}
	here.plain = binary.AppendUvarint(here.plain[:0], uint64(len(here.head)))
	here.plain = append(append(here.plain, here.head...), e.Payload...)
	return here.appendPacked(nil, here.plain), nil
}

// UnpackEvent fills in what Event packed.
func UnpackEvent(e *domain.Event, packed []byte) error {
	data, err := Unpack(packed)
	if err != nil {
		return fmt.Errorf("unpack event %d of %s: %w", e.Seq, e.Stream, err)
	}
	n, used := binary.Uvarint(data)
	if used <= 0 || n > uint64(len(data)-used) {
		return fmt.Errorf("unpack event %d of %s: %w", e.Seq, e.Stream, errors.New("it is cut short"))
	}
	head := data[used : used+int(n)]
	r, plain := readRest(head)
	if !plain {
		if err := json.Unmarshal(head, &r); err != nil {
			return fmt.Errorf("unpack event %d of %s: %w", e.Seq, e.Stream, err)
		}
	}
	e.ID, e.SchemaVersion, e.CommandID, e.RequestHash = r.ID, r.Schema, r.Command, r.Hash
	e.Correlation, e.Causation, e.Versions, e.Previous = r.Correlation, r.Causation, r.Versions, r.Previous
	e.Payload = data[used+int(n):]
	e.OccurredAt = e.RecordedAt
	if r.Occurred != 0 {
		e.OccurredAt = time.UnixMicro(r.Occurred).UTC()
	}
	return nil
}

// micros is 0 for the zero moment.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}
