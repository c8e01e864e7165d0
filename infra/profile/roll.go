package profile

import (
	"context"
	"time"

	"carryon/command"
	"carryon/query"
)

// uses is what this process decides and answers with now: what its follower knows, if it decides; else what its read
// model of the reference shard holds.
func (s *System) uses(ctx context.Context) (command.Uses, error) {
	uses := command.Uses{Program: s.version, Catalogue: s.catalogue.Catalogue().Version()}
	known := s.published.Now
	if s.reference != nil {
		known = s.reference.Reference
	}
	reference, err := known(ctx)
	if err != nil {
		return uses, err
	}
	v := reference.Versions(s.clock())
	uses.Policy, uses.DeviceTypes, uses.Catalogue, uses.Reference = v.Policy, v.DeviceTypes, v.Catalogue, v.Reference
	return uses, nil
}

// roll is who is there, in the query side's terms.
type roll struct{ *System }

// Processes implements query.Roll. This process tells of itself as it is now, whether the others know of it or not.
func (r roll) Processes(ctx context.Context) ([]query.Process, float64, error) {
	var members []command.Member
	ago := 0.0
	if r.peers != nil {
		if roster := r.peers.roster.Load(); roster != nil {
			var at time.Time
			if members, at = roster.Known(); !at.IsZero() {
				ago = time.Since(at).Seconds()
			}
		}
	}
	self := command.Member{Name: r.name, Roles: r.config.Roles, Age: time.Since(r.begun)}
	self.Uses, _ = r.uses(ctx) // what it can't tell is left out; readiness says why
	processes := []query.Process{processOf(&self)}
	processes[0].Here = true
	for i := range members {
		if members[i].Name != r.name {
			processes = append(processes, processOf(&members[i]))
		}
	}
	return processes, ago, nil
}

func processOf(m *command.Member) query.Process {
	return query.Process{
		Name: m.Name, Roles: m.Roles, AliveSeconds: m.Age.Seconds(), Program: m.Uses.Program,
		Policy: m.Uses.Policy, DeviceTypes: m.Uses.DeviceTypes, Catalogue: m.Uses.Catalogue, Reference: m.Uses.Reference,
	}
}
