package codec_test

import (
	"testing"

	"carryon/domain"
	"carryon/infra/codec"
	"carryon/infra/codec/sample"
)

func payloadBytes(e *domain.Entry) (n int64) {
	for i := range e.Events {
		n += int64(len(e.Events[i].Payload))
	}
	return n
}

func BenchmarkEncode64Commands(b *testing.B) {
	e := sample.NewSource(1, 10_000, 1).Next(64)
	b.SetBytes(payloadBytes(e))
	b.ReportAllocs()
	size := 0
	for b.Loop() {
		data, err := codec.EncodeEvents(e)
		if err != nil {
			b.Fatal(err)
		}
		size = len(data)
	}
	b.ReportMetric(float64(len(e.Events)), "events")
	b.ReportMetric(float64(size)/float64(len(e.Events)), "stored-B/event")
	b.ReportMetric(float64(payloadBytes(e))/float64(len(e.Events)), "payload-B/event")
}

func BenchmarkDecode64Commands(b *testing.B) {
	e, data := encoded(b, sample.NewSource(1, 10_000, 1).Next(64))
	b.SetBytes(payloadBytes(e))
	b.ReportAllocs()
	for b.Loop() {
		if err := codec.DecodeEvents(e, data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCutOneEventOfManyFrames(b *testing.B) {
	e, data := encoded(b, sample.NewSource(1, 10_000, 1).Next(64))
	b.ReportAllocs()
	place := 0
	for b.Loop() {
		if _, err := codec.DecodePlaces(e, data, []int{place}); err != nil {
			b.Fatal(err)
		}
		place = (place + 7) % len(e.Events)
	}
}

func encoded(t testing.TB, e *domain.Entry) (*domain.Entry, []byte) {
	t.Helper()
	data, err := codec.EncodeEvents(e)
	if err != nil {
		t.Fatal(err)
	}
	return e, data
}
