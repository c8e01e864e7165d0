package command_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/memory"
)

const rosterShards = 12

func startRoster(t *testing.T, list command.Members, name string, registry prometheus.Registerer) *command.Roster {
	t.Helper()
	r, err := command.NewRoster(list, command.RosterConfig{
		Self:   command.Member{Name: name, Address: "http://" + name, Roles: []string{command.RoleCommand}, Reads: command.ReadVersions()},
		Shards: rosterShards, Interval: time.Second, TTL: 4 * time.Second, Settle: 10 * time.Second,
	}, registry, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Start(t.Context())
	t.Cleanup(r.Close)
	return r
}

// owners are the owners of all shards, as a process has it.
func owners(r *command.Roster) []string {
	var names []string
	for shard := range rosterShards + 1 {
		name, _ := r.Owner(shard)
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func wantOwners(t *testing.T, r *command.Roster, want ...string) {
	t.Helper()
	if got := owners(r); !slices.Equal(got, want) {
		t.Errorf("owners are %v, want %v", got, want)
	}
}

func wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestARosterFollowsWhoComesAndGoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		list, registry := memory.NewMembers(), prometheus.NewRegistry()
		a := startRoster(t, list, "a", registry)
		wantOwners(t, a, "a") // at once: a process alone waits for nobody
		wait(time.Minute)
		b := startRoster(t, list, "b", nil)
		wait(8 * time.Second)
		wantOwners(t, a, "a")
		wantOwners(t, b, "a")
		wait(4 * time.Second)
		wantOwners(t, a, "a", "b")
		wantOwners(t, b, "a", "b")
		for shard := range rosterShards + 1 {
			if one, _ := a.Owner(shard); one != func() string { name, _ := b.Owner(shard); return name }() {
				t.Errorf("shard %d has two owners", shard)
			}
		}
		values := counters(t, registry)
		if owned := values["carryon_shard_owned 1"] + values["carryon_shard_owned 2"]; values["carryon_members"] != 2 || owned > 2 {
			t.Errorf("metrics: %v", values)
		}
		b.Close() // as a crash does: nobody is told
		wait(6 * time.Second)
		wantOwners(t, a, "a")
		if address, known := a.Address("b"); known {
			t.Errorf("who is gone is at %s", address)
		}
	})
}

func TestWhoLeavesOwnsNothingAtOnceAndKnowsWhoDoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		list := memory.NewMembers()
		a, b := startRoster(t, list, "a", nil), startRoster(t, list, "b", nil)
		wait(20 * time.Second)
		wantOwners(t, a, "a", "b")
		if err := b.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantOwners(t, b, "a")
		wait(1100 * time.Millisecond)
		wantOwners(t, a, "a")
		if members := a.Members(); len(members) != 1 {
			t.Errorf("members are %+v", members)
		}
		wait(time.Minute) // and does not come back
		wantOwners(t, a, "a")
		if address, known := b.Address("a"); !known || address != "http://a" {
			t.Errorf("a is at %q", address)
		}
	})
}

func TestTheLastOneToLeaveKeepsWhatComes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := startRoster(t, memory.NewMembers(), "a", nil)
		if err := a.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, here := a.Owner(1); !here {
			t.Error("the shards belong to nobody")
		}
	})
}

func TestAListThatCannotBeReachedChangesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		list, registry := memory.NewMembers(), prometheus.NewRegistry()
		a, b := startRoster(t, list, "a", registry), startRoster(t, list, "b", nil)
		wait(20 * time.Second)
		list.Break(errors.New("away"))
		wait(time.Hour)
		wantOwners(t, a, "a", "b")
		wantOwners(t, b, "a", "b")
		if values := counters(t, registry); values["carryon_members_age_seconds"] < 3500 || values["carryon_members_failures_total list"] == 0 || values["carryon_members_failures_total beat"] == 0 {
			t.Errorf("metrics: %v", values)
		}
		c := startRoster(t, list, "c", nil) // which knows nobody, and decides for itself
		wantOwners(t, c, "c")
		list.Break(nil)
		wait(15 * time.Second)
		wantOwners(t, a, "a", "b", "c")
		wantOwners(t, c, "a", "b", "c")
	})
}

// slowList holds beats until they are let go.
type slowList struct {
	*memory.Members
	mu   sync.Mutex
	hold chan struct{}
}

func (l *slowList) Beat(ctx context.Context, m command.Member, ttl time.Duration) error {
	l.mu.Lock()
	hold := l.hold
	l.mu.Unlock()
	if hold != nil {
		<-hold // it is on its way, and no context calls it back
	}
	return l.Members.Beat(context.WithoutCancel(ctx), m, ttl)
}

func TestABeatUnderWayDoesNotBringBackWhoLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		list := &slowList{Members: memory.NewMembers()}
		a := startRoster(t, list, "a", nil)
		hold := make(chan struct{})
		list.mu.Lock()
		list.hold = hold
		list.mu.Unlock()
		wait(1500 * time.Millisecond) // a beat is under way
		left := make(chan error, 1)
		go func() { left <- a.Leave(t.Context()) }()
		synctest.Wait()
		list.mu.Lock()
		list.hold = nil
		list.mu.Unlock()
		close(hold)
		if err := <-left; err != nil {
			t.Fatal(err)
		}
		wait(3 * time.Second)
		if known, err := list.List(t.Context()); err != nil || len(known) != 0 {
			t.Errorf("who left is known: %+v, %v", known, err)
		}
	})
}

func TestWritersWriteWhatEveryLivingProcessReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		list := memory.NewMembers()
		r := startRoster(t, list, "a", nil)
		record := command.RecordFor(r)
		play, plan := &domain.PlaybackStarted{PlayID: "p"}, &domain.PlanChanged{Plan: "premium"}
		wantVersion := func(want int) {
			t.Helper()
			var e domain.Event
			if err := record(&e, play); err != nil || e.SchemaVersion != want {
				t.Errorf("a play is written in version %d, %v; want %d", e.SchemaVersion, err, want)
			}
		}
		wantVersion(2)
		old := command.Member{Name: "old", Roles: []string{"projector"}, Reads: command.ReadVersions()}
		old.Reads["PlaybackStarted"] = 1
		delete(old.Reads, "PlanChanged")
		if err := list.Beat(t.Context(), old, time.Minute); err != nil {
			t.Fatal(err)
		}
		wait(2 * time.Second)
		wantVersion(1)
		var e domain.Event
		if err := record(&e, plan); !errors.Is(err, command.ErrUnavailable) || !strings.Contains(err.Error(), "old") || e.Payload != nil {
			t.Errorf("an event that a living process does not know: %v, %+v", err, e)
		}
		if err := list.Leave(t.Context(), "old"); err != nil {
			t.Fatal(err)
		}
		wait(2 * time.Second)
		wantVersion(2)
		if err := record(&e, plan); err != nil {
			t.Error(err)
		}
	})
}

func TestRosterSettingsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	self := command.Member{Name: "a", Address: "http://a", Roles: []string{command.RoleCommand}}
	for name, cfg := range map[string]command.RosterConfig{
		"no name":                    {Shards: 1},
		"no address":                 {Self: command.Member{Name: "a", Roles: self.Roles}, Shards: 1},
		"no shards":                  {Self: self},
		"a ttl of half seconds":      {Self: self, Shards: 1, TTL: 2500 * time.Millisecond},
		"a ttl of a single interval": {Self: self, Shards: 1, TTL: time.Second},
		"a negative interval":        {Self: self, Shards: 1, Interval: -1},
	} {
		if _, err := command.NewRoster(memory.NewMembers(), cfg, nil, nil); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestAProcessTellsWhatItUsesAsThatChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		list := memory.NewMembers()
		policy, fails := 1, false
		var mu sync.Mutex
		set := func(version int, failing bool) {
			mu.Lock()
			defer mu.Unlock()
			policy, fails = version, failing
		}
		r, err := command.NewRoster(list, command.RosterConfig{
			Self: command.Member{Name: "a"}, Shards: rosterShards, Interval: time.Second, TTL: 4 * time.Second,
			Uses: func(context.Context) (command.Uses, error) {
				mu.Lock()
				defer mu.Unlock()
				if fails {
					return command.Uses{}, errors.New("the reference is too old")
				}
				return command.Uses{Policy: policy, Catalogue: "c"}, nil
			},
		}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Start(t.Context())
		defer r.Close()
		for _, step := range []struct {
			policy int
			fails  bool
			told   int
		}{{1, false, 1}, {2, false, 2}, {3, true, 2}, {3, false, 3}} {
			set(step.policy, step.fails)
			wait(3 * time.Second)
			members, at := r.Known()
			if len(members) != 1 || members[0].Uses != (command.Uses{Policy: step.told, Catalogue: "c"}) || time.Since(at) > 2*time.Second {
				t.Errorf("with policy %d (failing: %t) the members are %+v, of %s ago", step.policy, step.fails, members, time.Since(at))
			}
		}
	})
}
