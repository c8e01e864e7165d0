package query

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"carryon/domain"
)

// Two processes that decide by different policies give different answers to the same question. That is right for a moment
// after a policy was published, and a fault when it lasts; so each process tells what it uses, and anyone can look.

// ListProcesses asks which processes there are, and what each decides and answers with.
type ListProcesses struct{ By Caller }

// ListProcessesAnswer is every process that is known.
type ListProcessesAnswer struct {
	Processes []Process `json:"processes"` // in order of name
	// ReadSecondsAgo is how old the list is. Who has not been heard of for a few seconds is not on it.
	ReadSecondsAgo float64 `json:"read_seconds_ago"`
}

// Process is a living process, as it tells of itself.
type Process struct {
	Name         string   `json:"name"`
	Here         bool     `json:"here,omitempty"` // it is the one that answers
	Roles        []string `json:"roles"`
	AliveSeconds float64  `json:"alive_seconds"`
	Program      string   `json:"program"` // version; empty, or 0, here and below: it did not say
	Policy       int      `json:"policy"`  // version in force of the policy "default"
	DeviceTypes  int      `json:"device_types"`
	Catalogue    string   `json:"catalogue"` // content hash
	Reference    uint64   `json:"reference"` // last entry of the reference shard that it knows
	// Apart are the things of which it has another version than the newest, or, where none is newer, than most.
	Apart []string `json:"apart,omitempty" enum:"program,policy,device_types,catalogue"`
}

// Roll is who is there.
type Roll interface {
	// Processes are those that are known, and how old that knowledge is, in seconds. The one that is asked is always there.
	Processes(ctx context.Context) ([]Process, float64, error)
}

// ProcessesHandler answers ListProcesses.
type ProcessesHandler struct{ p *Ports }

// Handle answers with every process.
func (h ProcessesHandler) Handle(ctx context.Context, q ListProcesses) (ListProcessesAnswer, error) {
	if !slices.Contains([]domain.Role{domain.RoleOperator, domain.RoleSupport, domain.RoleAnalyst}, q.By.Actor.Role) {
		return ListProcessesAnswer{}, fmt.Errorf("processes: %w", ErrForbidden)
	}
	if h.p.Roll == nil {
		return ListProcessesAnswer{}, fmt.Errorf("no list of processes in reach: %w", ErrUnavailable)
	}
	processes, ago, err := h.p.Roll.Processes(ctx)
	if err != nil {
		return ListProcessesAnswer{}, err
	}
	slices.SortFunc(processes, func(a, b Process) int { return cmp.Compare(a.Name, b.Name) })
	setApart(processes)
	return ListProcessesAnswer{Processes: processes, ReadSecondsAgo: ago}, nil
}

// setApart finds who differs. Versions of documents are numbers, and the highest is the newest; catalogues and programs
// have no order, so there most are right.
func setApart(processes []Process) {
	policy, types := 0, 0
	catalogues, programs := map[string]int{}, map[string]int{}
	for i := range processes {
		p := &processes[i]
		policy, types = max(policy, p.Policy), max(types, p.DeviceTypes)
		catalogues[p.Catalogue]++
		programs[p.Program]++
	}
	catalogue, program := mostCommon(catalogues), mostCommon(programs)
	for i := range processes {
		p := &processes[i]
		for _, of := range []struct {
			name  string
			apart bool
		}{
			{"program", p.Program != program}, {"policy", p.Policy != policy},
			{"device_types", p.DeviceTypes != types}, {"catalogue", p.Catalogue != catalogue},
		} {
			if of.apart {
				p.Apart = append(p.Apart, of.name)
			}
		}
	}
}

func mostCommon(counts map[string]int) string {
	most := ""
	for value, count := range counts {
		if count > counts[most] || count == counts[most] && value > most {
			most = value
		}
	}
	return most
}
