package watermill_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"carryon/domain"
	"carryon/infra/watermill"
)

// fullEntry is an entry with something in every field.
func fullEntry(payload string) *domain.Entry {
	at := time.Date(2025, 2, 3, 4, 5, 6, 7000, time.UTC)
	e := entry(7)
	e.Writer, e.RecordedAt = "writer-1", at
	e.Events = []domain.Event{{
		ID: "e1", Stream: "customer/a", Seq: 3, Position: domain.Position{Shard: 1, Index: 7}, Previous: domain.Position{Shard: 1, Index: 2, Place: 4},
		Type: "PlanChanged", SchemaVersion: 1, OccurredAt: at.Add(-time.Hour), RecordedAt: at, CommandID: "c1", RequestHash: "h1",
		Correlation: "r1", Causation: "e0", Actor: domain.Actor{ID: "someone", Role: domain.RoleSupport},
		Versions: domain.Versions{Policy: 1, Plan: 2, DeviceTypes: 3, Catalogue: "cat", Reference: 9}, Payload: []byte(payload),
	}}
	return e
}

func TestAnEntryComesBackFromItsMessageAsItWas(t *testing.T) {
	t.Parallel()
	for _, e := range []*domain.Entry{entry(1), fullEntry(`{"plan":"premium"}`)} {
		data, err := watermill.EntryCodec{}.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		back, err := watermill.EntryCodec{}.Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, back, cmpopts.IgnoreUnexported(domain.Event{}), cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAMessageThatWasCutOrChangedIsRefused(t *testing.T) {
	t.Parallel()
	data, err := watermill.EntryCodec{}.Encode(fullEntry(`{"plan":"premium"}`))
	if err != nil {
		t.Fatal(err)
	}
	for n := range data {
		if _, err := (watermill.EntryCodec{}).Decode(data[:n]); err == nil {
			t.Errorf("a message cut after %d of %d bytes is read", n, len(data))
		}
		changed := bytes.Clone(data)
		changed[n] ^= 0x10
		if _, err := (watermill.EntryCodec{}).Decode(changed); err == nil {
			t.Errorf("a message whose byte %d was changed is read", n)
		}
	}
}

func FuzzDecodingAMessageNeverPanics(f *testing.F) {
	for _, e := range []*domain.Entry{entry(1), fullEntry(`{}`)} {
		data, err := watermill.EntryCodec{}.Encode(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := watermill.EntryCodec{}.Decode(data)
		if err != nil {
			return
		}
		again, err := watermill.EntryCodec{}.Encode(e)
		if err != nil {
			t.Fatalf("what was read can't be written: %v", err)
		}
		if back, err := (watermill.EntryCodec{}).Decode(again); err != nil || back.ID != e.ID || len(back.Events) != len(e.Events) {
			t.Fatalf("what was written can't be read: %v", err)
		}
	})
}

// kept is a publisher that keeps what it gets.
type kept struct{ messages chan *message.Message }

func (k kept) Publish(_ string, messages ...*message.Message) error {
	for _, m := range messages {
		k.messages <- m
	}
	return nil
}

func (kept) Close() error { return nil }

func TestALargeEntryIsOnlyNamed(t *testing.T) {
	t.Parallel()
	publisher := kept{make(chan *message.Message, 2)}
	bus := watermill.NewBus(watermill.Config{LargestMessage: 1000}, watermill.EntryCodec{}, nil, watermill.Output{Topic: "entries", Publisher: publisher})
	noise := make([]byte, 4000) // does not compress well
	rand.NewChaCha8([32]byte{}).Read(noise)
	for _, e := range []*domain.Entry{fullEntry(`{}`), fullEntry(`{"x":"` + hex.EncodeToString(noise) + `"}`)} {
		if err := bus.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	bus.Run(ctx)
	small, large := <-publisher.messages, <-publisher.messages
	if len(small.Payload) == 0 || len(large.Payload) != 0 || large.Metadata.Get("index") != "7" {
		t.Errorf("payloads of %d and %d bytes; the second names entry %q", len(small.Payload), len(large.Payload), large.Metadata.Get("index"))
	}
}
