package cassandra

import "testing"

func TestWhatAStoreRestsOnIsLookedAt(t *testing.T) {
	t.Parallel()
	type result struct{ holds, fatal bool }
	settings := map[[2]string][2]result{
		{"v2", "group"}:         {{true, true}, {true, false}},
		{"v2", "batch"}:         {{true, true}, {true, false}},
		{"v2", "periodic"}:      {{true, true}, {false, false}},
		{"v1", "group"}:         {{false, true}, {true, false}},
		{"unknown", "unknown"}:  {{false, false}, {false, false}},
		{"", ""}:                {{false, true}, {false, false}},
		{"v2_without_x", "BAD"}: {{false, true}, {false, false}},
	}
	for s, want := range settings {
		got := checkSettings("node", map[string]string{"paxos_variant": s[0], "commitlog_sync": s[1]})
		for i := range got {
			if got[i].Holds != want[i].holds || got[i].Fatal != want[i].fatal {
				t.Errorf("%v: %+v, want %+v", s, got[i], want[i])
			}
		}
	}
	const network = "org.apache.cassandra.locator.NetworkTopologyStrategy"
	for _, tt := range []struct {
		replication map[string]string
		broken      []string
	}{
		{map[string]string{"class": network, "dc1": "3"}, nil},
		{map[string]string{"class": network, "dc1": "5", "dc2": "3", "dc3": "0"}, nil},
		{map[string]string{"class": network, "dc1": "1"}, []string{assumeReplicas}},
		{map[string]string{"class": "org.apache.cassandra.locator.SimpleStrategy", "replication_factor": "3"}, []string{assumeStrategy}},
		{map[string]string{"class": "org.apache.cassandra.locator.LocalStrategy"}, []string{assumeStrategy}},
	} {
		var broken []string
		for _, a := range checkReplication(tt.replication) {
			if !a.Holds {
				broken = append(broken, a.Name)
			}
		}
		if len(broken) != len(tt.broken) || len(broken) > 0 && broken[0] != tt.broken[0] {
			t.Errorf("%v: %v, want %v", tt.replication, broken, tt.broken)
		}
	}
}

func TestOneDataCentreIsEnoughOnlyWhereAllIsWrittenThere(t *testing.T) {
	t.Parallel()
	one, two := map[string]string{"class": "x", "a": "3"}, map[string]string{"class": "x", "a": "3", "b": "3"}
	for _, tt := range []struct {
		scope       Scope
		here, home  string
		replication map[string]string
		holds       bool
	}{
		{Everywhere, "", "", two, true},
		{Everywhere, "c", "", two, true},
		{OneDatacenter, "a", "", one, true},
		{OneDatacenter, "b", "", one, false},
		{OneDatacenter, "a", "", two, false},
		{OneDatacenter, "a", "a", two, true},
		{OneDatacenter, "b", "a", two, false},
		{OneDatacenter, "c", "c", two, false},
	} {
		s := Store{cfg: Config{Scope: tt.scope, Datacenter: tt.here, Home: tt.home}}
		if a := s.checkScope(tt.replication); a.Holds != tt.holds {
			t.Errorf("%+v: %+v", tt, a)
		}
	}
}
