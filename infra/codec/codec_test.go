package codec_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/codec"
	"carryon/infra/codec/sample"
)

var asWritten = cmp.Options{cmpopts.IgnoreUnexported(domain.Event{}), cmpopts.EquateEmpty()}

// decoded reads the bytes back into an entry that has the header of e and nothing else.
func decoded(e *domain.Entry, data []byte) (domain.Entry, error) {
	got := *e
	got.Events = nil
	err := codec.DecodeEvents(&got, data)
	return got, err
}

func TestWhatIsDecodedIsWhatWasEncoded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		e := anEntry(t)
		data, err := codec.EncodeEvents(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decoded(e, data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(*e, got, asWritten); diff != "" {
			t.Fatal(diff)
		}
		places := rapid.SliceOfDistinct(rapid.IntRange(0, max(len(e.Events)-1, 0)), rapid.ID).Draw(t, "places")
		checkCut(t, e, data, ascending(places, len(e.Events)))
	})
}

func ascending(places []int, events int) []int {
	var out []int
	for place := range events {
		for _, p := range places {
			if p == place {
				out = append(out, place)
			}
		}
	}
	return out
}

func checkCut(t interface{ Fatal(...any) }, e *domain.Entry, data []byte, places []int) {
	var want []domain.Event
	for _, place := range places {
		want = append(want, e.Events[place])
	}
	head := *e
	head.Events = nil
	got, err := codec.DecodePlaces(&head, data, places)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, asWritten); diff != "" {
		t.Fatal(diff)
	}
}

// anEntry is any entry at all: envelopes that repeat what the event before said, and that do not.
func anEntry(t *rapid.T) *domain.Entry {
	at := func(label string) time.Time {
		return time.Unix(rapid.Int64Range(-1e10, 1e11).Draw(t, label), rapid.SampledFrom([]int64{0, 1000, 999_999_000, 1, 999_999_999}).Draw(t, label+" nanoseconds")).UTC()
	}
	text := rapid.SampledFrom([]string{"", "a", "customer/c-1", "customer/c-2", "0198c0de-7a11-7000-8000-000000000000", "\x00\xff", strings.Repeat("long ", 300)})
	number := rapid.SampledFrom([]int{0, 1, 2, -1, 127, 128, math.MaxInt32, math.MaxInt64, math.MinInt64})
	index := rapid.SampledFrom([]uint64{0, 1, 2, 300, 1 << 40, math.MaxUint64})
	e := &domain.Entry{Shard: number.Draw(t, "shard"), Index: index.Draw(t, "index"), Writer: text.Draw(t, "writer"), RecordedAt: at("entry").Truncate(time.Microsecond)}
	copy(e.ID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
	for place := range rapid.IntRange(0, 40).Draw(t, "events") {
		event := domain.Event{
			ID: text.Draw(t, "id"), Stream: domain.StreamID(text.Draw(t, "stream")), Seq: index.Draw(t, "seq"),
			Position: domain.Position{Shard: e.Shard, Index: e.Index, Place: place},
			Previous: domain.Position{Shard: number.Draw(t, "previous shard"), Index: index.Draw(t, "previous index"), Place: number.Draw(t, "previous place")},
			Type:     text.Draw(t, "type"), SchemaVersion: number.Draw(t, "schema"), OccurredAt: at("occurred"), RecordedAt: at("recorded"),
			CommandID: text.Draw(t, "command"), RequestHash: text.Draw(t, "hash"), Correlation: text.Draw(t, "correlation"), Causation: text.Draw(t, "causation"),
			Actor: domain.Actor{ID: text.Draw(t, "actor"), Role: domain.Role(text.Draw(t, "role"))},
			Versions: domain.Versions{
				Policy: number.Draw(t, "policy"), Plan: number.Draw(t, "plan"), DeviceTypes: number.Draw(t, "types"), Catalogue: text.Draw(t, "catalogue"), Reference: index.Draw(t, "reference"),
			},
			Payload: rapid.SliceOfN(rapid.Byte(), 0, 3000).Draw(t, "payload"),
		}
		if rapid.Bool().Draw(t, "as before") && place > 0 {
			before := e.Events[place-1]
			event.Stream, event.Seq, event.Previous = before.Stream, before.Seq+1, before.Position
			event.CommandID, event.RequestHash, event.Actor, event.Versions, event.RecordedAt = before.CommandID, before.RequestHash, before.Actor, before.Versions, before.RecordedAt
		}
		if rapid.Bool().Draw(t, "at once") {
			event.RecordedAt, event.OccurredAt = e.RecordedAt, e.RecordedAt
		}
		e.Events = append(e.Events, event)
	}
	return e
}

func TestEventsOfManyFramesAreCutOutOneByOne(t *testing.T) {
	t.Parallel()
	e, data := encoded(t, sample.NewSource(1, 500, 7).Next(64))
	for place := range e.Events {
		checkCut(t, e, data, []int{place})
	}
	checkCut(t, e, data, []int{0, 1, len(e.Events) / 2, len(e.Events) - 1})
	for _, places := range [][]int{{len(e.Events)}, {-1}, {3, 3}, {3, 2}, {len(e.Events) - 1, 0}} {
		if got, err := codec.DecodePlaces(e, data, places); err == nil {
			t.Errorf("places %v: %d events", places, len(got))
		}
	}
}

func TestEveryChangedByteIsFound(t *testing.T) {
	t.Parallel()
	e, data := encoded(t, sample.NewSource(1, 500, 3).Next(3))
	for i := range data {
		changed := bytes.Clone(data)
		changed[i] ^= 0x10
		if _, err := decoded(e, changed); !errors.Is(err, domain.ErrHistoryDiffers) && !errors.Is(err, domain.ErrFutureVersion) {
			t.Fatalf("byte %d of %d: %v", i, len(data), err)
		}
	}
	for n := range data {
		if _, err := decoded(e, data[:n]); !errors.Is(err, codec.ErrBroken) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

func TestEventsUnderAnotherHeaderAreFound(t *testing.T) {
	t.Parallel()
	e, data := encoded(t, sample.NewSource(1, 500, 3).Next(3))
	for name, change := range map[string]func(*domain.Entry){
		"shard":       func(e *domain.Entry) { e.Shard++ },
		"index":       func(e *domain.Entry) { e.Index++ },
		"id":          func(e *domain.Entry) { e.ID[15]++ },
		"previous id": func(e *domain.Entry) { e.PreviousID[0]++ },
		"writer":      func(e *domain.Entry) { e.Writer += "x" },
		"recorded at": func(e *domain.Entry) { e.RecordedAt = e.RecordedAt.Add(time.Microsecond) },
	} {
		other := *e
		change(&other)
		if _, err := decoded(&other, data); !errors.Is(err, codec.ErrBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnEntryOfANewerFormatIsRefusedAsSuch(t *testing.T) {
	t.Parallel()
	e, data := encoded(t, sample.NewSource(1, 500, 3).Next(1))
	data[0]++
	if _, err := decoded(e, data); !errors.Is(err, domain.ErrFutureVersion) {
		t.Error(err)
	}
}

func TestWhatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	event := func(e *domain.Entry, size int) {
		e.Events = append(e.Events, domain.Event{
			Stream: "customer/c", Seq: uint64(len(e.Events)) + 1, Position: domain.Position{Shard: 1, Index: 1, Place: len(e.Events)}, Payload: make([]byte, size),
		})
	}
	entry := func(events, size int) *domain.Entry {
		e := &domain.Entry{Shard: 1, Index: 1}
		for range events {
			event(e, size)
		}
		return e
	}
	for name, e := range map[string]*domain.Entry{
		"an event":    entry(1, codec.MaxEventBytes),
		"many events": entry(codec.MaxEvents+1, 0),
		"an entry":    entry(codec.MaxBytes/command.MaxEventBytes+1, command.MaxEventBytes),
	} {
		if _, err := codec.EncodeEvents(e); !errors.Is(err, command.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, e := range map[string]*domain.Entry{
		"an event":           entry(1, command.MaxEventBytes),
		"many events":        entry(codec.MaxEvents, 0),
		"the largest events": entry(command.MaxCommandEvents, command.MaxEventBytes),
	} {
		_, data := encoded(t, e)
		if got, err := decoded(e, data); err != nil || len(got.Events) != len(e.Events) {
			t.Errorf("%s: %d events, %v", name, len(got.Events), err)
		}
	}
}

func TestTimesFinerThanTheEntrysAreKept(t *testing.T) {
	t.Parallel()
	e := sample.NewSource(1, 500, 3).Next(1)
	e.RecordedAt = e.RecordedAt.Add(123 * time.Nanosecond)
	for i := range e.Events {
		e.Events[i].RecordedAt, e.Events[i].OccurredAt = e.RecordedAt, e.RecordedAt.Add(1)
	}
	_, data := encoded(t, e)
	stored := *e
	stored.RecordedAt = e.RecordedAt.Truncate(time.Microsecond)
	got, err := decoded(&stored, data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e.Events, got.Events, asWritten); diff != "" {
		t.Error(diff)
	}
}

func TestAnEventWithAnotherPlaceIsRefused(t *testing.T) {
	t.Parallel()
	e := sample.NewSource(1, 500, 3).Next(2)
	e.Events[1].Position.Place = 7
	if _, err := codec.EncodeEvents(e); err == nil {
		t.Error("it was encoded, and would be read back with another place")
	}
}

// The checksum only says that the bytes are what somebody wrote; these were written by somebody hostile.
func TestHostileBytesWithARightChecksumTakeNoMemory(t *testing.T) {
	t.Parallel()
	uvarints := func(values ...uint64) (b []byte) {
		for _, v := range values {
			b = binary.AppendUvarint(b, v)
		}
		return b
	}
	for name, body := range map[string][]byte{
		"more events than any entry has":   uvarints(1<<40, 1, 1, 1, 1),
		"more frames than events":          uvarints(1, 2, 1, 1, 1, 1, 1, 1),
		"a frame larger than any":          append(uvarints(1, 1, 1, 1<<40, 4), "abcd"...),
		"a frame that grows when stored":   append(uvarints(1, 1, 1, 2, 4), "abcd"...),
		"an empty frame":                   append(uvarints(1, 1, 0, 2, 2), "ab"...),
		"fewer bytes than the table says":  append(uvarints(1, 1, 1, 100, 50), "abcd"...),
		"more bytes than the table says":   append(uvarints(1, 1, 1, 2, 2), "abcd"...),
		"other events than the table says": append(uvarints(3, 1, 1, 2, 2), "ab"...),
		"no zstd frame":                    append(uvarints(1, 1, 1, 1000, 4), "abcd"...),
		"a number without an end":          bytes.Repeat([]byte{0xff}, 30),
		"an event without an end":          append(uvarints(1, 1, 1, 2, 2), "\x00\x00"...),
		"a text without an end":            append(uvarints(1, 1, 1, 4, 4), "\xff\xff\xff\x7f"...),
	} {
		e := &domain.Entry{Shard: 1, Index: 1}
		if _, err := decoded(e, sealed(e, append([]byte{1}, body...))); !errors.Is(err, codec.ErrBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// sealed appends the right checksum.
func sealed(e *domain.Entry, body []byte) []byte {
	var header []byte
	header = binary.LittleEndian.AppendUint64(header, uint64(e.Shard))
	header = binary.LittleEndian.AppendUint64(header, e.Index)
	header = append(append(header, e.ID[:]...), e.PreviousID[:]...)
	header = binary.LittleEndian.AppendUint64(header, uint64(e.RecordedAt.UnixMicro()))
	sum := crc32.Checksum(append(append(header, e.Writer...), body...), crc32.MakeTable(crc32.Castagnoli))
	return binary.LittleEndian.AppendUint32(bytes.Clone(body), sum)
}

// The file was written by the first program that had this format. It is never written again: logs hold such bytes.
func TestBytesOfFormat1AreReadForEver(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/format-1.hex")
	if err != nil {
		t.Fatal(err)
	}
	data, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	want := goldenEntry()
	got, err := decoded(want, data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*want, got, asWritten); diff != "" {
		t.Error(diff)
	}
}

func goldenEntry() *domain.Entry {
	at := time.Date(2026, 3, 1, 18, 30, 0, 123456000, time.UTC)
	e := &domain.Entry{Shard: 3, Index: 70_000, Writer: "host-4711", RecordedAt: at, ID: domain.BatchID{1, 2, 3}, PreviousID: domain.BatchID{4, 5, 6}}
	for i, stream := range []domain.StreamID{"customer/c-1", "customer/c-1", "customer/c-2", "title/tt1"} {
		e.Events = append(e.Events, domain.Event{
			ID: fmt.Sprintf("evt_%d", i), Stream: stream, Seq: uint64(10 + i), Position: domain.Position{Shard: 3, Index: 70_000, Place: i},
			Previous: domain.Position{Shard: 3, Index: 69_000, Place: 5}, Type: "LicenseIssued", SchemaVersion: 2, OccurredAt: at.Add(-time.Duration(i) * time.Hour), RecordedAt: at,
			CommandID: "0198c0de-7a11-7000-8000-00000000000" + fmt.Sprint(i/2), RequestHash: "abcd", Correlation: "req", Causation: "evt_before",
			Actor: domain.Actor{ID: "agent-7", Role: domain.RoleSupport}, Versions: domain.Versions{Policy: 3, Plan: 2, DeviceTypes: 1, Catalogue: "cat", Reference: 12},
			Payload: fmt.Appendf(nil, `{"n":%d,"text":%q}`, i, strings.Repeat("again ", 20)),
		})
	}
	e.Events[1].Previous = e.Events[0].Position
	e.Events[3].Previous, e.Events[3].Seq = domain.Position{}, 1
	return e
}

func FuzzDecodingAnyBytes(f *testing.F) {
	e, data := encoded(f, sample.NewSource(1, 500, 3).Next(2))
	f.Add(data[:len(data)-4])
	f.Add([]byte{1, 0, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := decoded(e, sealed(e, body))
		if err != nil {
			return
		}
		again, err := codec.EncodeEvents(&got)
		if err != nil {
			t.Fatalf("what was decoded can't be encoded: %v", err)
		}
		twice, err := decoded(e, again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, twice, asWritten); diff != "" {
			t.Fatal(diff)
		}
		if len(got.Events) > 0 {
			checkCut(t, &got, again, []int{len(got.Events) - 1})
		}
	})
}

func TestEventsThatWereNotPackedAreReadLikeOthers(t *testing.T) {
	t.Parallel()
	e := sample.NewSource(1, 50, 3).Next(20)
	packed, err := codec.EncodeEvents(e)
	if err != nil {
		t.Fatal(err)
	}
	data, err := codec.EncodeUnpacked(e)
	if err != nil || len(data) < 2*len(packed) {
		t.Fatalf("%d bytes, %d packed, %v", len(data), len(packed), err)
	}
	got := *e
	got.Events = nil
	if err := codec.DecodeEvents(&got, data); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e.Events, got.Events, cmpopts.IgnoreUnexported(domain.Event{})); diff != "" {
		t.Error(diff)
	}
}
