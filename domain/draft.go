package domain

import "time"

const (
	maxRules  = 20 // the most that one decision looks at
	maxCounts = 18 // numbers that have their place in a draft, and
	maxTimes  = 6  // moments; a decision rarely has as many
)

// draft is a decision in the making, in one piece of memory with everything that its rules point to: decisions are
// made tens of thousands of times a second.
type draft struct {
	decision Decision
	subject  Subject // what exceptions must cover
	needed   []*exception

	results [maxRules]RuleResult
	numbers [maxCounts]int64
	times   [maxTimes]time.Time
	counted int
	timed   int
}

func newDraft(c *Customer, m Moment, command string, request Request) *draft {
	d := &draft{decision: Decision{
		ID: DecisionID(m.CommandID), Command: command, Outcome: OutcomeGrant, DecidedAt: m.Now, CustomerVersion: m.Version,
		Versions: m.Reference.Versions(m.Now), Request: request,
	}}
	d.decision.Rules = d.results[:0]
	return d
}

// look lists a rule that was looked at. It passes until something is said against it.
func (d *draft) look(rule, code string, kind, id string) *RuleResult {
	d.decision.Rules = append(d.decision.Rules, RuleResult{
		Rule: rule, Code: code, Scope: Scope{Kind: kind, ID: id}, Outcome: RulePass,
	})
	return &d.decision.Rules[len(d.decision.Rules)-1]
}

func (d *draft) refused() bool { return d.decision.Outcome == OutcomeRefuse }

// number is a pointer to n that mostly costs no allocation of its own.
func (d *draft) number(n int64) *int64 {
	p := pointee(d.numbers[:], &d.counted)
	*p = n
	return p
}

// moment is a pointer to the instant as a time; nil for "none".
func (d *draft) moment(i instant) *time.Time {
	if i == 0 || i == endOfTime {
		return nil
	}
	p := pointee(d.times[:], &d.timed)
	*p = i.time()
	return p
}

// pointee is the next place that is free, or one of its own when there is none.
func pointee[T any](places []T, used *int) *T {
	if *used == len(places) {
		return new(T)
	}
	*used++
	return &places[*used-1]
}
