package command_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/conformance"
	"carryon/infra/memory"
)

// Snapshots are left for a step in which nothing is claimed. A shard that claims in every step takes them all the same.
func TestAShardThatClaimsInEveryStepSavesSnapshotsAllTheSame(t *testing.T) {
	t.Parallel()
	const every, rounds = 10, 1000
	conn := memory.NewStore().Connect()
	writer, err := command.NewWriter(command.WriterConfig{Name: "busy", SnapshotEvery: every}, command.WriterPorts{
		Log: conn, Histories: conn, Snapshots: conn, Folding: conformance.TallyFolding(),
		Reference: func(context.Context) (domain.Reference, error) { return conformance.NoReference{}, nil },
		Clock:     time.Now, Random: rand.NewPCG(1, 2),
	})
	if err != nil {
		t.Fatal(err)
	}
	core := command.NewCore(writer, 1)
	var tell func() // what came of the claim in flight
	saved := 0
	step := func() {
		for jobs := core.Step(); len(jobs) > 0; {
			for _, j := range jobs {
				switch told := j.Do(t.Context()); j.Kind {
				case "claim":
					tell = told
				case "save":
					saved++
					told()
				default:
					told()
				}
			}
			if jobs = nil; tell == nil { // a claim in flight: what comes next comes with its answer
				jobs = core.Step()
			}
		}
	}
	step()
	core.Submit(t.Context(), adding("customer/a", tallyID(), 1))
	step()
	for round := range rounds {
		if tell == nil {
			t.Fatalf("nothing was claimed in round %d", round)
		}
		next := core.Submit(t.Context(), adding("customer/a", tallyID(), 1))
		tell()
		tell = nil
		step()
		if _, ok := next.Answer(); ok {
			t.Fatal("answered before its claim was")
		}
	}
	if saved == 0 {
		t.Errorf("no snapshot in %d rounds that each wrote an event, one is due after %d", rounds, every)
	}
	before := saved
	for range 2 * every {
		tell()
		tell = nil
		step() // nothing to claim
		core.Submit(t.Context(), adding("customer/a", tallyID(), 1))
		step()
	}
	if saved == before {
		t.Errorf("no snapshot in %d rounds with a quiet step each", 2*every)
	}
}
