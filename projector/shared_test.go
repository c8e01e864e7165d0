package projector_test

import (
	"sync"
	"testing"

	"carryon/domain"
	"carryon/projector"
)

func TestConsumersThatReadTheSameReadTheLogOnce(t *testing.T) {
	t.Parallel()
	log := newJournal()
	for range 50 {
		log.claim(1, "a", "b")
	}
	shared := projector.NewShared(log, 1<<20)
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() {
			for from := uint64(1); from <= 50; {
				entries, err := shared.Read(t.Context(), 1, from, 10_000)
				if err != nil || len(entries) == 0 || entries[0].Index != from {
					t.Errorf("reading from %d: %d entries, %v", from, len(entries), err)
					return
				}
				from += uint64(len(entries))
			}
		})
	}
	group.Wait()
	if reads := log.readCount(); reads > 5 {
		t.Errorf("six consumers read the log %d times for five pages", reads)
	}
}

func TestSharedEntriesAreBoundedByBytes(t *testing.T) {
	t.Parallel()
	log := newJournal()
	for range 50 {
		log.claim(1, "a")
	}
	shared := projector.NewShared(log, 10_000)
	for i := range log.entries[1] {
		shared.Keep(&log.entries[1][i])
	}
	kept := 0
	for i, e := range log.entries[1] {
		if _, found := shared.Find(e.ID); found {
			kept++
		} else if kept > 0 {
			t.Errorf("entry %d was forgotten before older ones", i+1)
		}
	}
	if kept < 5 || kept > 10 {
		t.Errorf("%d entries of about a KiB are kept in 10 kB", kept)
	}
	entries, err := shared.Read(t.Context(), 1, 1, 1000)
	if err != nil || len(entries) == 0 || entries[0].Index != 1 {
		t.Errorf("what was forgotten is not read from the log: %v, %v", entries, err)
	}
}

func TestWhatIsSharedIsDecodedAndTheOneHandedInIsNotTouched(t *testing.T) {
	t.Parallel()
	var event domain.Event
	if err := event.SetData(&domain.PlanChanged{Plan: "premium"}); err != nil {
		t.Fatal(err)
	}
	recorded := domain.Event{Type: event.Type, SchemaVersion: event.SchemaVersion, Payload: event.Payload}
	e := &domain.Entry{Shard: 1, Index: 1, ID: domain.BatchID{1}, Events: []domain.Event{recorded, {Type: "of the future"}}}
	shared := projector.NewShared(newJournal(), 1<<20)
	kept := shared.Keep(e)
	if !kept.Events[0].IsDecoded() || e.Events[0].IsDecoded() {
		t.Error("the kept entry is not decoded, or the one handed in is")
	}
	if _, err := kept.Events[1].Data(); err == nil {
		t.Error("an unknown event is decoded")
	}
	if again := shared.Keep(e); again != kept {
		t.Error("an entry is kept twice")
	}
}
