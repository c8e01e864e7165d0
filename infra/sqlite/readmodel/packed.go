package readmodel

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"carryon/domain"
)

// What no row is found by is packed: compressed, and read only when a row is shown.

// packer is shared by all files: its coders are safe for concurrent use and cost memory each.
var packer = sync.OnceValues(func() (coders, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(64<<10), zstd.WithEncoderCRC(false))
	if err != nil {
		return coders{}, err
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(maxUnpacked))
	return coders{e, d}, err
})

type coders struct {
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

// maxUnpacked is the most that a packed value may hold: an event has at most 256 KiB of payload.
const maxUnpacked = 4 << 20

func pack(data []byte) ([]byte, error) {
	c, err := packer()
	if err != nil {
		return nil, err
	}
	return c.encoder.EncodeAll(data, make([]byte, 0, len(data)/3+32)), nil
}

func unpack(data []byte) ([]byte, error) {
	c, err := packer()
	if err != nil {
		return nil, err
	}
	return c.decoder.DecodeAll(data, nil)
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

// packEvent packs what the columns do not hold.
func packEvent(e *domain.Event) ([]byte, error) {
	r := rest{
		ID: e.ID, Schema: e.SchemaVersion, Command: e.CommandID, Hash: e.RequestHash, Correlation: e.Correlation,
		Causation: e.Causation, Versions: e.Versions, Previous: e.Previous,
	}
	if !e.OccurredAt.Equal(e.RecordedAt) {
		r.Occurred = micros(e.OccurredAt)
	}
	head, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("pack event %s: %w", e.ID, err)
	}
	data := binary.AppendUvarint(make([]byte, 0, len(head)+len(e.Payload)+4), uint64(len(head)))
	data = append(append(data, head...), e.Payload...)
	packed, err := pack(data)
	if err != nil {
		return nil, fmt.Errorf("pack event %s: %w", e.ID, err)
	}
	return packed, nil
}

// unpackEvent fills in what the columns do not hold.
func unpackEvent(e *domain.Event, packed []byte) error {
	data, err := unpack(packed)
	if err != nil {
		return fmt.Errorf("unpack event %d of %s: %w", e.Seq, e.Stream, err)
	}
	n, used := binary.Uvarint(data)
	if used <= 0 || n > uint64(len(data)-used) {
		return fmt.Errorf("unpack event %d of %s: %w", e.Seq, e.Stream, errors.New("it is cut short"))
	}
	var r rest
	if err := json.Unmarshal(data[used:used+int(n)], &r); err != nil {
		return fmt.Errorf("unpack event %d of %s: %w", e.Seq, e.Stream, err)
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
