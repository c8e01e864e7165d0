package projector_test

import (
	"context"
	"strings"
	"testing"

	"carryon/domain"
	"carryon/infra/conformance"
	"carryon/projector"
)

// brittle is a store of customers that panics when it saves.
type brittle struct{ projector.CustomersTx }

func (brittle) States(context.Context, []domain.StreamID) (map[domain.StreamID]projector.CustomerState, error) {
	return nil, nil
}

func (brittle) SaveStates(context.Context, []projector.CustomerState) error { panic("no such page") }

func TestAPanicOfTheStoreBesideTheFoldIsAnErrorOfTheProjection(t *testing.T) {
	t.Parallel()
	h, err := conformance.NewHistory(1, 5, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range h.Grow(50) {
		var events []*domain.Event
		for i := range entry.Events {
			events = append(events, &entry.Events[i])
		}
		if entry.Shard == domain.ReferenceShard {
			continue
		}
		if err := (projector.Customers{}).Apply(t.Context(), brittle{}, events); err == nil || !strings.Contains(err.Error(), "panic: no such page") {
			t.Fatalf("it says %v", err)
		}
		return
	}
	t.Fatal("no customer has a history")
}
