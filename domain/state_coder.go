package domain

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"sync"
)

// A state is written and read by one description of its layout (its walk), so that the two can't part. Writing only
// reads what is walked: states are shared. Numbers are
// varints, instants are differences to the instant before, and a string that occurs again is the number of its first
// occurrence: a customer's titles, devices and studios are named many times. Reading shares one copy of the bytes
// among all strings. The layout belongs to FoldVersion: changing one means raising the other.
type stateCoder interface {
	text(*string)
	bytes(*[]byte)
	number(*int64)
	int(*int)
	seq(*uint64)
	instant(*instant)
	flag(*bool)
	hash(*uint64)
	count(have int) int
}

var errStateCut = errors.New("the state is cut short or damaged")

// stateWriter appends a state to out.
type stateWriter struct {
	out  []byte
	seen map[string]uint64
	last instant
}

// stateWriters are kept: states are written tens of thousands of times a second, and a map is dear to make.
var stateWriters = sync.Pool{New: func() any {
	return &stateWriter{out: make([]byte, 0, 4096), seen: make(map[string]uint64, 64)}
}}

// Larger ones are not kept: a map never shrinks, and clearing it costs what it once held.
const (
	maxKeptState   = 64 << 10
	maxKeptStrings = 512
)

// appendState appends a state to b.
func appendState(b []byte, state interface{ walk(stateCoder) }) []byte {
	w, _ := stateWriters.Get().(*stateWriter)
	state.walk(w)
	b = append(b, w.out...)
	if cap(w.out) <= maxKeptState && len(w.seen) <= maxKeptStrings {
		clear(w.seen)
		w.out, w.last = w.out[:0], 0
		stateWriters.Put(w)
	}
	return b
}

func (w *stateWriter) text(s *string) {
	if *s == "" {
		w.out = append(w.out, 1)
		return
	}
	if n, ok := w.seen[*s]; ok {
		w.out = binary.AppendUvarint(w.out, n)
		return
	}
	w.seen[*s] = uint64(len(w.seen)) + 2
	w.out = append(w.out, 0)
	w.out = binary.AppendUvarint(w.out, uint64(len(*s)))
	w.out = append(w.out, *s...)
}

func (w *stateWriter) bytes(b *[]byte) {
	w.out = binary.AppendUvarint(w.out, uint64(len(*b)))
	w.out = append(w.out, *b...)
}

func (w *stateWriter) number(n *int64) { w.out = binary.AppendVarint(w.out, *n) }
func (w *stateWriter) int(n *int)      { w.out = binary.AppendVarint(w.out, int64(*n)) }
func (w *stateWriter) seq(n *uint64)   { w.out = binary.AppendUvarint(w.out, *n) }

func (w *stateWriter) instant(i *instant) {
	if *i == 0 {
		w.out = append(w.out, 0)
		return
	}
	delta := int64(*i - w.last)
	w.out = binary.AppendUvarint(w.out, uint64(delta<<1^delta>>63)+1)
	w.last = *i
}

func (w *stateWriter) flag(b *bool) {
	if *b {
		w.out = append(w.out, 1)
	} else {
		w.out = append(w.out, 0)
	}
}

func (w *stateWriter) hash(h *uint64) { w.out = binary.LittleEndian.AppendUint64(w.out, *h) }

func (w *stateWriter) count(have int) int {
	w.out = binary.AppendUvarint(w.out, uint64(have))
	return have
}

// stateReader reads what a stateWriter wrote. After the first error it reads zeros.
type stateReader struct {
	in   string
	at   int
	seen []string
	last instant
	err  error
}

var stateReaders = sync.Pool{New: func() any { return &stateReader{seen: make([]string, 2, 64)} }}

// unmarshalState reads what appendState wrote. The state's strings are parts of data.
func unmarshalState(state interface{ walk(stateCoder) }, data string) error {
	r, _ := stateReaders.Get().(*stateReader)
	r.in = data
	state.walk(r)
	err := r.end()
	if cap(r.seen) <= maxKeptStrings {
		clear(r.seen)
		*r = stateReader{seen: r.seen[:2]}
		stateReaders.Put(r)
	}
	return err
}

// end says whether everything was read, and nothing is left over.
func (r *stateReader) end() error {
	if r.err == nil && r.at != len(r.in) {
		return fmt.Errorf("%w: %d bytes are left over", errStateCut, len(r.in)-r.at)
	}
	return r.err
}

func (r *stateReader) fail() {
	if r.err == nil {
		r.err = fmt.Errorf("%w: at byte %d of %d", errStateCut, r.at, len(r.in))
	}
	r.at = len(r.in)
}

func (r *stateReader) uvarint() uint64 {
	var n uint64
	for shift := 0; shift < 64 && r.at < len(r.in); shift += 7 {
		b := r.in[r.at]
		r.at++
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return n
		}
	}
	r.fail()
	return 0
}

func (r *stateReader) take(n uint64) string {
	if n > uint64(len(r.in)-r.at) {
		r.fail()
		return ""
	}
	s := r.in[r.at : r.at+int(n)]
	r.at += int(n)
	return s
}

func (r *stateReader) text(s *string) {
	n := r.uvarint()
	switch {
	case r.err != nil:
	case n == 0:
		*s = r.take(r.uvarint())
		r.seen = append(r.seen, *s)
	case n < uint64(len(r.seen)):
		*s = r.seen[n]
	default:
		r.fail()
	}
}

func (r *stateReader) bytes(b *[]byte) {
	if s := r.take(r.uvarint()); s != "" {
		*b = []byte(s)
	}
}

func (r *stateReader) number(n *int64) {
	u := r.uvarint()
	*n = int64(u>>1) ^ -int64(u&1)
}

func (r *stateReader) int(n *int) {
	var v int64
	r.number(&v)
	*n = int(v)
}

func (r *stateReader) seq(n *uint64) { *n = r.uvarint() }

func (r *stateReader) instant(i *instant) {
	u := r.uvarint()
	if u == 0 {
		return
	}
	u--
	r.last += instant(int64(u>>1) ^ -int64(u&1))
	*i = r.last
}

func (r *stateReader) flag(b *bool) {
	switch r.take(1) {
	case "\x00":
	case "\x01":
		*b = true
	default:
		r.fail()
	}
}

func (r *stateReader) hash(h *uint64) {
	if s := r.take(8); s != "" {
		for i := range 8 {
			*h |= uint64(s[i]) << (8 * i)
		}
	}
}

// count never promises more elements than there are bytes for.
func (r *stateReader) count(int) int {
	n := r.uvarint()
	if n > uint64(len(r.in)-r.at) || bits.Len64(n) > 31 {
		r.fail()
		return 0
	}
	return int(n)
}

func walkSeconds(w stateCoder, s *Seconds) { w.number((*int64)(s)) }

// walkEach walks a slice of values.
func walkEach[T any](w stateCoder, s *[]T, walk func(stateCoder, *T)) {
	n := w.count(len(*s))
	if n != len(*s) {
		*s = make([]T, n)
	}
	for i := range *s {
		walk(w, &(*s)[i])
	}
}

// walkAll walks a slice of pointers. What is read stands in one piece of memory.
func walkAll[T any](w stateCoder, s *[]*T, walk func(stateCoder, *T)) {
	n := w.count(len(*s))
	if n != len(*s) {
		values := make([]T, n)
		*s = make([]*T, n)
		for i := range values {
			(*s)[i] = &values[i]
		}
	}
	for _, v := range *s {
		walk(w, v)
	}
}

func walkInstants(w stateCoder, s *[]instant) {
	walkEach(w, s, func(w stateCoder, i *instant) { w.instant(i) })
}
