package command

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"carryon/domain"
)

func idAt(at time.Time, n uint32) string {
	var raw [16]byte
	ms := uint64(at.UnixMilli())
	for i := range 6 {
		raw[i] = byte(ms >> (8 * (5 - i)))
	}
	raw[6], raw[8] = 0x70, 0x80
	binary.BigEndian.PutUint32(raw[12:], n)
	return fmt.Sprintf("%x-%x-%x-%x-%x", raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:])
}

// A memory must find every command of the last KeyKept, one by one or as a span to search, and is a fold: the same events
// give the same bytes, and reading them back changes nothing.
func TestAMemoryFindsWhatWasRecordedWithinItsTime(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		keep := time.Duration(rapid.IntRange(1, 200).Draw(t, "hours kept")) * time.Hour
		var m memory
		type known struct {
			id       string
			time     int64
			seq      uint64
			events   int
			recorded time.Time
		}
		var all []known
		now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		seq, index := uint64(0), uint64(0)
		commands := rapid.IntRange(0, 2600).Draw(t, "commands")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		for n := range commands {
			now = now.Add(time.Duration(random.IntN(600)) * time.Second)
			index++
			var id string
			switch random.IntN(10) {
			case 0:
				id = fmt.Sprint("derived-", n) // has no time
			case 1:
				id = idAt(now.Add(time.Duration(random.IntN(20_000))*time.Hour), uint32(n)) // a clock that is wrong
			default:
				id = idAt(now.Add(-time.Duration(random.IntN(100))*time.Hour), uint32(n))
			}
			k := known{id: id, time: keyTime(id), seq: seq + 1, events: 1 + random.IntN(3), recorded: now}
			for range k.events {
				seq++
				m.record(&domain.Event{Seq: seq, CommandID: id, RequestHash: fmt.Sprint(n), RecordedAt: now, Position: domain.Position{Index: index}}, keep)
			}
			all = append(all, k)
		}
		if len(m.items) > maxRemembered || len(m.items) != len(m.keys) {
			t.Fatalf("%d commands are kept one by one, with %d keys", len(m.items), len(m.keys))
		}
		var latest time.Time
		if len(all) > 0 {
			latest = all[len(all)-1].recorded
		}
		for n, k := range all {
			if latest.Sub(k.recorded) > keep {
				continue
			}
			r, ok := m.find(keyOf(k.id))
			if ok {
				if r.seq != k.seq || int(r.events) != k.events || r.hash != hashOfRequest(fmt.Sprint(n)) || m.at(k.seq+uint64(k.events)-1) != r.index {
					t.Fatalf("command %d: %+v, want seq %d and %d events", n, r, k.seq, k.events)
				}
				continue
			}
			if first, last := m.search(k.time); first > k.seq || last < k.seq {
				t.Fatalf("command %d at seq %d is neither kept nor in what is searched (%d to %d)", n, k.seq, first, last)
			}
		}
		b := m.appendTo(nil)
		read, rest, err := readMemory(string(b) + "and then")
		if err != nil || rest != "and then" {
			t.Fatalf("reading it back: %q, %v", rest, err)
		}
		if again := read.appendTo(nil); string(again) != string(b) {
			t.Fatal("reading back and writing again gives other bytes")
		}
		if len(m.items) > 0 && (!reflect.DeepEqual(read.items, m.items) || !reflect.DeepEqual(read.keys, m.keys)) {
			t.Fatal("reading back gives another memory")
		}
	})
}

func TestWhatIsForgottenIsForgottenByItsTime(t *testing.T) {
	t.Parallel()
	var m memory
	begin := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	record := func(seq uint64, after time.Duration) string {
		id := idAt(begin.Add(after), uint32(seq))
		m.record(&domain.Event{Seq: seq, CommandID: id, RecordedAt: begin.Add(after), Position: domain.Position{Index: seq}}, 8*day)
		return id
	}
	first := record(1, 0)
	second := record(2, 8*day)
	if _, ok := m.find(keyOf(first)); !ok {
		t.Fatal("forgotten after eight days sharp")
	}
	record(3, 8*day+time.Microsecond)
	if _, ok := m.find(keyOf(first)); ok {
		t.Fatal("remembered for longer than eight days")
	}
	if _, ok := m.find(keyOf(second)); !ok {
		t.Fatal("a younger one is forgotten too")
	}
}

func FuzzADamagedSnapshotIsRefusedOrRead(f *testing.F) {
	var m memory
	for n := range 5 {
		now := time.UnixMilli(int64(n) * 1e6)
		m.record(&domain.Event{Seq: uint64(n) + 1, CommandID: idAt(now, uint32(n)), RecordedAt: now}, day)
	}
	m.spans = append(m.spans, span{first: 1, last: 9, recorded: 5, earliest: 1, latest: 4, future: 9})
	f.Add(m.appendTo(nil))
	f.Add([]byte{})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, rest, err := readMemory(string(b))
		if err != nil {
			return
		}
		again, _, err := readMemory(string(m.appendTo(nil)) + rest)
		if err != nil || len(again.items) != len(m.items) || len(again.spans) != len(m.spans) {
			t.Fatalf("read once, and then not any more: %v", err)
		}
	})
}
