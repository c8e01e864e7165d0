package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"time"

	"carryon/domain"
)

// Living processes share the shards between them by rendezvous hashing: of those who count, the one with the highest
// hash of its name and the shard writes the shard, unless it has its fair number already. Everyone works that out by
// itself from the same list, so nobody has to be asked. It is advice only: a process that errs in whom a shard belongs to
// is slow, and never wrong, because the log takes one entry from one writer, whoever he is.

// Members is where living processes tell of themselves, and learn of each other.
//
// The conformance suite of this port is infra/conformance.Members.
type Members interface {
	// Beat makes a process known, or renews what is known of it. It is forgotten when ttl has passed without another
	// beat. A ttl is a number of whole seconds, at least one.
	Beat(ctx context.Context, m Member, ttl time.Duration) error
	// List returns the processes that are known, in order of name.
	List(ctx context.Context) ([]Member, error)
	// Leave forgets a process at once. It is no error if it is not known.
	Leave(ctx context.Context, name string) error
}

// Member is a living process, as it tells of itself.
type Member struct {
	Name    string   // never used by another process, living or dead; the name in the entries that it writes
	Address string   // of its internal API, as in "http://10.0.0.7:7071"; empty: it has none
	Roles   []string // command, projector, query
	// Reads is the newest schema version that it reads, by event type.
	Reads map[string]int
	// Uses is what it decides and answers with, as far as it knew at its last beat.
	Uses Uses
	// Age is how long it had been alive at its last beat, by its own clock: no two clocks are ever compared.
	Age time.Duration
}

// Uses is what a process decides and answers with. Zero values: it does not say.
type Uses struct {
	Program     string // the version of the program
	Policy      int    // in force, of the policy document "default"
	DeviceTypes int    // in force, of the policy document "device-types"
	Catalogue   string // content hash of the catalogue
	Reference   uint64 // last entry of the reference shard that it knows
}

// RoleCommand is the role of the processes that write shards.
const RoleCommand = "command"

// Check tells whether a member may be made known.
func (m *Member) Check() error {
	switch {
	case m.Name == "":
		return errors.New("a member without a name")
	case len(m.Name) > 200 || len(m.Address) > 500 || len(m.Uses.Program) > 500 || len(m.Uses.Catalogue) > 200:
		return fmt.Errorf("member %.200q: name, address or a version is too long", m.Name)
	case m.Age < 0:
		return fmt.Errorf("member %q: its age is negative", m.Name)
	case m.writes() && m.Address == "":
		return fmt.Errorf("member %q: who writes shards needs an address", m.Name)
	}
	return nil
}

func (m *Member) writes() bool { return slices.Contains(m.Roles, RoleCommand) }

// ReadVersions are the schema versions that this program reads.
func ReadVersions() map[string]int {
	reads := map[string]int{}
	for _, typ := range domain.EventTypes() {
		reads[typ] = domain.SchemaVersion(typ)
	}
	return reads
}

// NotReading are the names of the members that do not read a schema version of an event type yet. A writer emits a new
// version only when there are none.
func NotReading(members []Member, typ string, version int) []string {
	var names []string
	for i := range members {
		if members[i].Reads[typ] < version {
			names = append(names, members[i].Name)
		}
	}
	return names
}

// Owners says who writes which shard, as a list of members has it.
type Owners struct{ byShard []Member }

// ShareOut shares the shards 0 to `shards` out among the members that count: those with the role command that have been
// alive for `settle`, or, as long as nobody has, for half as long as the eldest. So a process that comes and goes moves
// no shard, and a system that starts shares out at once. Nobody gets more than his fair number of customer shards,
// rounded up. It depends on nothing but its arguments, and not on the order of the members.
func ShareOut(members []Member, shards int, settle time.Duration) Owners {
	byName := map[string]Member{}
	eldest := time.Duration(0)
	for _, m := range members {
		if m.writes() && m.Address != "" {
			byName[m.Name] = m
			eldest = max(eldest, m.Age)
		}
	}
	settled := slices.Sorted(maps.Keys(byName))
	settled = slices.DeleteFunc(settled, func(name string) bool { return byName[name].Age < min(settle, eldest/2) })
	if len(settled) == 0 {
		return Owners{}
	}
	// With few shards chance alone would give one process twice what another has, so nobody gets more than his fair number.
	// The highest hashes are served first, which keeps what moves, when somebody comes or goes, close to the least possible.
	type claim struct {
		weight uint64
		shard  int
		name   string
	}
	var claims []claim
	for shard := range shards + 1 {
		for _, name := range settled {
			claims = append(claims, claim{weight(name, shard), shard, name})
		}
	}
	slices.SortFunc(claims, func(a, b claim) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.shard, b.shard), cmp.Compare(a.name, b.name))
	})
	fair := (shards + len(settled) - 1) / len(settled)
	owners, has := make([]Member, shards+1), map[string]int{}
	for _, c := range claims {
		if owners[c.shard].Name != "" || c.shard != domain.ReferenceShard && has[c.name] == fair {
			continue
		}
		owners[c.shard] = byName[c.name]
		if c.shard != domain.ReferenceShard {
			has[c.name]++
		}
	}
	return Owners{byShard: owners}
}

// Of is the owner of a shard; false: nobody is known to be.
func (o Owners) Of(shard int) (Member, bool) {
	if shard < 0 || shard >= len(o.byShard) {
		return Member{}, false
	}
	return o.byShard[shard], true
}

// weight is a member's claim to a shard: FNV-1a over both, and then a mixer (that of SplitMix64), because names that
// differ in their last letter alone have to differ in the highest bits.
func weight(name string, shard int) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write(strconv.AppendInt(nil, int64(shard), 10))
	x := h.Sum64()
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
