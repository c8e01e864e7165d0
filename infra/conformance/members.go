package conformance

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"carryon/command"
)

// MembersFactory makes a list of members that is new and empty; each call of connect is another process's way to it.
// Whatever it opens it closes by t.Cleanup.
type MembersFactory func(t *testing.T) (connect func(t *testing.T) command.Members)

// Members tests the contract of command.Members: who beats is known to everyone, as he told it; who stops is forgotten
// when his time has passed, and not before; who leaves is forgotten at once.
func Members(t *testing.T, factory MembersFactory) {
	tests := []struct {
		name string
		test func(*testing.T, func(*testing.T) command.Members)
	}{
		{"an empty list is empty", membersEmpty},
		{"who beats is known to everyone, as he told it, in order of name", membersKnown},
		{"a beat replaces the one before", membersReplaced},
		{"who stops beating is forgotten after his time, who goes on is not", membersForgotten},
		{"who leaves is forgotten at once, and may come back", membersLeave},
		{"leaving unknown is no error", membersLeaveUnknown},
		{"what makes no sense is refused", membersNonsense},
		{"a call ends with its context", membersContext},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, factory(t))
		})
	}
}

func member(name string) command.Member {
	return command.Member{
		Name: name, Address: "http://" + name + ":7071", Roles: []string{"command", "query"},
		Reads: map[string]int{"PlaybackStarted": 2, "PlanChanged": 1}, Age: 90*time.Second + 123*time.Millisecond,
		Uses: command.Uses{Program: "(devel) abc", Policy: 3, DeviceTypes: 2, Catalogue: "c-1234", Reference: 17},
	}
}

const long = time.Hour

func beat(t *testing.T, list command.Members, m command.Member, ttl time.Duration) {
	t.Helper()
	if err := list.Beat(t.Context(), m, ttl); err != nil {
		t.Fatalf("%s beats: %v", m.Name, err)
	}
}

func listed(t *testing.T, list command.Members) []command.Member {
	t.Helper()
	all, err := list.List(t.Context())
	if err != nil {
		t.Fatalf("listing members: %v", err)
	}
	return all
}

func listsMembers(t *testing.T, list command.Members, want ...command.Member) {
	t.Helper()
	if diff := cmp.Diff(want, listed(t, list), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("members, -want +got:\n%s", diff)
	}
}

func membersEmpty(t *testing.T, connect func(*testing.T) command.Members) {
	listsMembers(t, connect(t))
}

func membersKnown(t *testing.T, connect func(*testing.T) command.Members) {
	one, other := connect(t), connect(t)
	bare := command.Member{Name: "only a name"}
	beat(t, one, member("zeta"), long)
	beat(t, other, member("alpha"), long)
	beat(t, one, bare, long)
	for _, list := range []command.Members{one, other, connect(t)} {
		listsMembers(t, list, member("alpha"), bare, member("zeta"))
	}
}

func membersReplaced(t *testing.T, connect func(*testing.T) command.Members) {
	list := connect(t)
	first, second := member("a"), member("a")
	second.Address, second.Roles, second.Reads, second.Age = "http://elsewhere", []string{"command"}, map[string]int{"PlanChanged": 2}, first.Age+time.Second
	second.Uses = command.Uses{Policy: 4}
	beat(t, list, first, long)
	beat(t, list, second, long)
	listsMembers(t, list, second)
}

func membersForgotten(t *testing.T, connect func(*testing.T) command.Members) {
	const ttl = 2 * time.Second
	list, other := connect(t), connect(t)
	beat(t, list, member("stays"), ttl)
	begun := time.Now()
	beat(t, list, member("goes"), ttl)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := begun.Add(30 * time.Second); ; {
		beat(t, list, member("stays"), ttl)
		left := listed(t, other)
		if len(left) == 0 || left[len(left)-1].Name != "stays" {
			t.Fatalf("who goes on beating was forgotten: %v", left)
		}
		if len(left) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("who stopped beating for %s is still known, with a ttl of %s", time.Since(begun), ttl)
		}
		<-tick.C
	}
	// Stores count in whole seconds, so a second may be missing.
	if lived := time.Since(begun); lived < ttl-time.Second {
		t.Errorf("who stopped beating was forgotten after %s, with a ttl of %s", lived, ttl)
	}
}

func membersLeave(t *testing.T, connect func(*testing.T) command.Members) {
	list, other := connect(t), connect(t)
	beat(t, list, member("a"), long)
	beat(t, list, member("b"), long)
	for range 3 {
		if err := list.Leave(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		listsMembers(t, other, member("b"))
		beat(t, list, member("a"), long)
		listsMembers(t, other, member("a"), member("b"))
	}
}

func membersLeaveUnknown(t *testing.T, connect func(*testing.T) command.Members) {
	list := connect(t)
	if err := list.Leave(t.Context(), "nobody"); err != nil {
		t.Fatal(err)
	}
	listsMembers(t, list)
}

func membersNonsense(t *testing.T, connect func(*testing.T) command.Members) {
	list := connect(t)
	unreachable := member("a")
	unreachable.Address = ""
	for name, m := range map[string]command.Member{"without a name": {}, "a writer without an address": unreachable, "of a negative age": {Name: "a", Age: -1}} {
		if err := list.Beat(t.Context(), m, long); err == nil {
			t.Errorf("a member %s was taken", name)
		}
	}
	for _, ttl := range []time.Duration{0, -time.Second, 500 * time.Millisecond, 1500 * time.Millisecond} {
		if err := list.Beat(t.Context(), member("a"), ttl); err == nil {
			t.Errorf("a ttl of %s was taken", ttl)
		}
	}
	listsMembers(t, list)
}

func membersContext(t *testing.T, connect func(*testing.T) command.Members) {
	list := connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := list.Beat(ctx, member("a"), long); err == nil {
		t.Error("beating goes on after its context")
	}
	if _, err := list.List(ctx); err == nil {
		t.Error("listing goes on after its context")
	}
	if err := list.Leave(ctx, "a"); err == nil {
		t.Error("leaving goes on after its context")
	}
}
