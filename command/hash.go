package command

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"
)

// A request hash tells whether two requests with one command id ask for the same. It covers the command's name and
// every field of its body, each with its length, and nothing of Meta. Personal words enter as the vault's keyed digest,
// so that the hash, which is recorded in every event, gives nothing away.
//
// The hash is recorded: changing what goes in, or in which order, makes repeats of older commands look like conflicts.
type requestHash struct{ bytes []byte }

var requestHashes = sync.Pool{New: func() any { return &requestHash{bytes: make([]byte, 0, 512)} }}

const maxPooledHash = 16 << 10

// hashOf begins a hash, which ends with sum.
func hashOf(command string) *requestHash {
	h, _ := requestHashes.Get().(*requestHash)
	return h.text(command)
}

func (h *requestHash) text(s string) *requestHash {
	h.bytes = binary.AppendUvarint(h.bytes, uint64(len(s)))
	h.bytes = append(h.bytes, s...)
	return h
}

func (h *requestHash) texts(ss []string) *requestHash {
	h.bytes = binary.AppendUvarint(h.bytes, uint64(len(ss)))
	for _, s := range ss {
		h.text(s)
	}
	return h
}

func (h *requestHash) number(n int64) *requestHash {
	h.bytes = binary.AppendVarint(h.bytes, n)
	return h
}

func (h *requestHash) time(t time.Time) *requestHash {
	if t.IsZero() {
		return h.text("")
	}
	return h.text("t").number(t.UnixMicro())
}

func (h *requestHash) optionalTime(t *time.Time) *requestHash {
	if t == nil {
		return h.text("")
	}
	return h.time(*t)
}

func (h *requestHash) reason(r sealedReason) *requestHash {
	return h.text(r.recorded.Code).text(r.digest).text(r.recorded.Case)
}

// optionalReason leaves the hash of a command without one as it is: what was recorded before there was any is still
// recognised.
func (h *requestHash) optionalReason(r *sealedReason) *requestHash {
	if r == nil {
		return h
	}
	return h.reason(*r)
}

// sum is the first 128 bits of SHA-256, in 22 letters.
func (h *requestHash) sum() string {
	sum := sha256.Sum256(h.bytes)
	if h.bytes = h.bytes[:0]; cap(h.bytes) <= maxPooledHash {
		requestHashes.Put(h)
	}
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
