package command_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"carryon/command"
)

const settle = 10 * time.Second

func settled(names ...string) []command.Member {
	var members []command.Member
	for _, name := range names {
		members = append(members, command.Member{Name: name, Address: "http://" + name, Roles: []string{command.RoleCommand}, Age: time.Hour})
	}
	return members
}

func ownersOf(t *testing.T, members []command.Member, shards int) []string {
	t.Helper()
	owners := command.ShareOut(members, shards, settle)
	var names []string
	for shard := range shards + 1 {
		owner, ok := owners.Of(shard)
		if !ok {
			t.Fatalf("shard %d has no owner", shard)
		}
		names = append(names, owner.Name)
	}
	return names
}

func TestEveryProcessComesToTheSameOwners(t *testing.T) {
	t.Parallel()
	members := settled("host-a-1", "host-a-2", "host-b-1", "host-c-9")
	want := ownersOf(t, members, 64)
	for seed := range uint64(20) {
		shuffled := slices.Clone(members)
		rand.New(rand.NewPCG(seed, 1)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		shuffled = append(shuffled, shuffled[0]) // listed twice
		if got := ownersOf(t, shuffled, 64); !slices.Equal(got, want) {
			t.Fatalf("another order of the list gives other owners:\n%v\n%v", got, want)
		}
	}
}

// The owners of a few shards are part of the protocol: processes of two versions have to agree during an update.
func TestTheOwnersOfAKnownListNeverChange(t *testing.T) {
	t.Parallel()
	got := ownersOf(t, settled("alpha", "beta", "gamma"), 11)
	want := []string{"gamma", "beta", "beta", "alpha", "alpha", "gamma", "gamma", "beta", "gamma", "gamma", "beta", "alpha"}
	if !slices.Equal(got, want) {
		t.Errorf("owners are %q, want %q", got, want)
	}
}

func TestShardsAreSharedOutEvenly(t *testing.T) {
	t.Parallel()
	for _, shards := range []int{1, 4, 8, 15, 64} {
		for _, processes := range []int{1, 2, 3, 5, 16} {
			var names []string
			for i := range processes {
				names = append(names, fmt.Sprintf("command-7d9f-%d", i))
			}
			count := map[string]int{}
			for _, owner := range ownersOf(t, settled(names...), shards)[1:] {
				count[owner]++
			}
			for _, name := range names {
				if most := (shards + processes - 1) / processes; count[name] > most {
					t.Errorf("of %d processes, %s has %d of %d shards, %d would be fair", processes, name, count[name], shards, most)
				}
			}
		}
	}
}

// Hashing alone moves 1/n of the shards when an n-th process comes; keeping everyone's share fair may move a few more.
func TestLittleMoreThanTheShardsOfWhoComesOrGoesMoves(t *testing.T) {
	t.Parallel()
	const shards, lists = 32, 50
	for _, processes := range []int{2, 3, 6} {
		moved, needed := 0, 0
		for list := range lists {
			var names []string
			for i := range processes {
				names = append(names, fmt.Sprintf("list-%d-process-%d", list, i))
			}
			before, after := ownersOf(t, settled(names...), shards), ownersOf(t, settled(names[1:]...), shards)
			for shard := range before {
				switch {
				case before[shard] == names[0]:
					needed++
					fallthrough
				case before[shard] != after[shard]:
					moved++
				}
			}
		}
		if moved > needed*3/2 {
			t.Errorf("when one of %d processes goes, %d shards move in %d lists, where %d have to", processes, moved, lists, needed)
		}
	}
}

func TestWhoCountsAsAnOwner(t *testing.T) {
	t.Parallel()
	member := func(name string, age time.Duration, roles ...string) command.Member {
		return command.Member{Name: name, Address: "http://" + name, Roles: roles, Age: age}
	}
	for name, test := range map[string]struct {
		members []command.Member
		want    []string
	}{
		"nobody":                                {nil, nil},
		"one who has just begun, alone":         {[]command.Member{member("a", 0, "command")}, []string{"a"}},
		"a newcomer beside a settled one":       {[]command.Member{member("a", time.Hour, "command"), member("b", settle-1, "command")}, []string{"a"}},
		"a newcomer who has settled":            {[]command.Member{member("a", time.Hour, "command"), member("b", settle, "command")}, []string{"a", "b"}},
		"two who began together":                {[]command.Member{member("a", time.Second, "command"), member("b", 500*time.Millisecond, "command")}, []string{"a", "b"}},
		"a much younger one while all is young": {[]command.Member{member("a", 4*time.Second, "command"), member("b", time.Second, "command")}, []string{"a"}},
		"one with another role":                 {[]command.Member{member("a", time.Hour, "command", "query"), member("b", time.Hour, "projector")}, []string{"a"}},
		"one who can't be reached":              {[]command.Member{member("a", time.Hour, "command"), {Name: "b", Age: time.Hour, Roles: []string{"command"}}}, []string{"a"}},
	} {
		owners := command.ShareOut(test.members, 200, settle)
		var got []string
		for shard := range 201 {
			if owner, ok := owners.Of(shard); ok && !slices.Contains(got, owner.Name) {
				got = append(got, owner.Name)
			}
		}
		if slices.Sort(got); !slices.Equal(got, test.want) {
			t.Errorf("%s: owners are %v, want %v", name, got, test.want)
		}
	}
	if _, ok := command.ShareOut(settled("a"), 3, settle).Of(4); ok {
		t.Error("a shard that there isn't has an owner")
	}
}

func TestOnceAMemberCountsItCountsOn(t *testing.T) {
	t.Parallel()
	// b begins d after a: as both grow older, b comes to count, and never ceases to.
	for _, d := range []time.Duration{0, time.Second, 7 * time.Second, 30 * time.Second} {
		counted := false
		for age := d; age < time.Minute; age += 100 * time.Millisecond {
			a, b := settled("a")[0], settled("b")[0]
			a.Age, b.Age = age, age-d
			counts := slices.Contains(ownersOf(t, []command.Member{a, b}, 64), "b")
			if counted && !counts {
				t.Fatalf("b, %s younger than a, counted and does no longer when a is %s old", d, age)
			}
			counted = counts
		}
		if !counted {
			t.Errorf("b, %s younger than a, never counted", d)
		}
	}
}

func TestANewSchemaVersionWaitsForThoseWhoDoNotReadIt(t *testing.T) {
	t.Parallel()
	old, current := settled("old")[0], settled("current")[0]
	old.Reads, current.Reads = map[string]int{"PlaybackStarted": 1}, command.ReadVersions()
	if got := command.NotReading([]command.Member{old, current}, "PlaybackStarted", 2); !slices.Equal(got, []string{"old"}) {
		t.Errorf("not reading version 2: %v", got)
	}
	if got := command.NotReading([]command.Member{old, current}, "PlaybackStarted", 1); got != nil {
		t.Errorf("not reading version 1: %v", got)
	}
	if got := command.NotReading([]command.Member{old}, "SomethingNew", 1); !slices.Equal(got, []string{"old"}) {
		t.Errorf("not reading a new type: %v", got)
	}
}
