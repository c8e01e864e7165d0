package codec

import (
	"fmt"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// The coders are made once: making one costs more than packing an entry with it. Neither starts a goroutine; as many
// callers as there are processors work at the same time, others wait their turn.
var coders = sync.OnceValue(func() (c struct {
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}) {
	var err error
	c.encoder, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)),
		zstd.WithWindowSize(window), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true))
	if err != nil {
		panic("zstd encoder: " + err.Error()) // the options are constants
	}
	c.decoder, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(runtime.GOMAXPROCS(0)), zstd.WithDecoderMaxMemory(maxFrame),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic("zstd decoder: " + err.Error())
	}
	return c
})

// window is how far back a frame refers to itself.
const window = 64 << 10

func zip(raw, into []byte) []byte { return coders().encoder.EncodeAll(raw, into) }

// unzip unpacks exactly size bytes, into `into` if there is room, and never more.
func unzip(stored, into []byte, size int) ([]byte, error) {
	if cap(into) < size {
		into = make([]byte, 0, size)
	}
	raw, err := coders().decoder.DecodeAll(stored, into[:0:size])
	if err != nil {
		return nil, err
	}
	if len(raw) != size {
		return nil, fmt.Errorf("%d bytes unpacked, %d were packed", len(raw), size)
	}
	return raw, nil
}
