package profile

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"carryon/api/cli"
	"carryon/api/simulate"
	"carryon/command"
	"carryon/domain"
)

// A process that answers questions and applies nothing tells all the same how far the read models are.
func TestAProcessWithoutProjectorsTellsHowFarTheReadModelsAre(t *testing.T) {
	t.Parallel()
	clock := &pretended{}
	s, err := OpenEmbedded(t.Context(), configured(t, t.TempDir()), cli.OpenOptions{Clock: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	asked := control{models: s.models.all, lags: &lags{s}}
	told := func(ctx context.Context) (behind uint64, seconds float64, unknown int) {
		t.Helper()
		models, err := asked.Status(ctx)
		if err != nil || len(models) != len(s.models.all) {
			t.Fatalf("%d models: %v", len(models), err)
		}
		for _, m := range models {
			if len(m.Shards) != len(s.layout.shards()) {
				t.Fatalf("%s has %d shards", m.Name, len(m.Shards))
			}
			for _, shard := range m.Shards {
				if shard.LagEntries != shard.Tail-shard.Applied && shard.Unknown == "" {
					t.Errorf("%s: %+v", m.Name, shard)
				}
				if behind, seconds = behind+shard.LagEntries, max(seconds, shard.LagSeconds); shard.Unknown != "" {
					unknown++
				}
			}
		}
		return behind, seconds, unknown
	}
	_, err = s.app.ChangePlan(t.Context(), command.ChangePlan{
		Meta:     command.Meta{CommandID: simulate.NewKey(clock.Now(), rand.New(rand.NewPCG(1, 1))), Actor: domain.Actor{ID: "billing", Role: domain.RoleService}},
		Customer: "anna", Plan: "premium", Country: "US",
	})
	if err != nil {
		t.Fatal(err)
	}
	clock.set(clock.Now().Add(time.Minute))
	if behind, seconds, unknown := told(t.Context()); behind == 0 || seconds < 60 || seconds > 120 || unknown > 0 {
		t.Errorf("%d entries and %v seconds behind, %d not known, before anything is applied", behind, seconds, unknown)
	}
	if err := s.CatchUp(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if behind, seconds, unknown := told(t.Context()); behind != 0 || seconds != 0 || unknown > 0 {
		t.Errorf("%d entries and %v seconds behind, %d not known, at the tail", behind, seconds, unknown)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, unknown := told(gone); unknown == 0 {
		t.Error("nothing is unknown when nothing can be asked")
	}
}
