package command

import (
	"sync"

	"carryon/domain"
)

// A shadow policy decides beside the one in force, on the same books at the same moment, and changes nothing. What it
// would have decided otherwise is counted, and the latest differences are kept to be looked at. A backtest over the same
// decisions finds the same differences: both make them with underAnother.

// Shadow is a policy that decides beside the one in force.
type Shadow struct {
	policy  *domain.Policy
	metrics *Metrics

	mu      sync.Mutex
	decided int64
	failed  int64
	total   Tally
	byRule  map[string]Tally
	latest  []Difference // a ring, once full
	next    int
}

const latestDifferences = 1000

// NewShadow makes a policy decide in the shadow.
func NewShadow(policy *domain.Policy) *Shadow {
	return &Shadow{policy: policy, total: Tally{}, byRule: map[string]Tally{}}
}

// ShadowReport is what a shadow policy has decided since the process started.
type ShadowReport struct {
	Decided int64            `json:"decided"` // decisions that both made
	Failed  int64            `json:"failed"`  // that the shadow could not make
	Total   Tally            `json:"total"`   // differences by kind: would_refuse, would_grant, would_say_otherwise
	ByRule  map[string]Tally `json:"by_rule"`
	Latest  []Difference     `json:"latest"` // newest first, at most a thousand
}

// shade is a decision in the shadow of one that was made, which may yet be dropped and made again.
type shade struct {
	made  *domain.Decision // the real one
	would *domain.Decision // nil: could not be made
	diff  Difference
}

// decide decides beside a decision that was made.
func (s *Shadow) decide(books *domain.Customer, m domain.Moment, made *domain.Decision) (d shade) {
	d.made = made
	defer func() {
		if recover() != nil { // the shadow never harms the decision that stands
			d.would = nil
		}
	}()
	would, err := underAnother(books, m, made, s.policy)
	if err != nil {
		return d
	}
	d.would, d.diff = would, differing(books, made, m.Reference)
	return d
}

// record counts a decision that was recorded.
func (s *Shadow) record(d shade, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.decided++
	if d.would == nil {
		s.failed++
		s.metrics.shadowed("failed")
		return
	}
	d.diff.Seq = seq
	if !d.diff.would(d.made, d.would) {
		s.metrics.shadowed("same")
		return
	}
	kind := d.diff.Kind()
	s.metrics.shadowed(kind)
	s.total[kind]++
	if rule := d.diff.Rule; rule != "" {
		if s.byRule[rule] == nil {
			s.byRule[rule] = Tally{}
		}
		s.byRule[rule][kind]++
	}
	if len(s.latest) < latestDifferences {
		s.latest = append(s.latest, d.diff)
		return
	}
	s.latest[s.next] = d.diff
	s.next = (s.next + 1) % latestDifferences
}

// Report is what was found so far.
func (s *Shadow) Report() ShadowReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := ShadowReport{Decided: s.decided, Failed: s.failed, Total: Tally{}, ByRule: make(map[string]Tally, len(s.byRule)), Latest: make([]Difference, 0, len(s.latest))}
	for kind, n := range s.total {
		r.Total[kind] = n
	}
	for rule, tally := range s.byRule {
		r.ByRule[rule] = Tally{}
		for kind, n := range tally {
			r.ByRule[rule][kind] = n
		}
	}
	for i := range s.latest {
		r.Latest = append(r.Latest, s.latest[(s.next+len(s.latest)-1-i)%len(s.latest)])
	}
	return r
}
