package command_test

import (
	"errors"
	"testing"
	"time"

	"carryon/command"
	"carryon/domain"
)

func TestTheStateOfAnyMomentIsFoldedFromHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.joined("ada")
	w.clock.advance(time.Hour)
	must(t)(w.app.ChangePlan(t.Context(), command.ChangePlan{Meta: w.meta(), Customer: "ada", Plan: "premium", Country: "FR"}))
	w.clock.advance(time.Hour)
	for name, c := range map[string]struct {
		when    command.AsOf
		version uint64
		plan    string
	}{
		"now":                  {command.AsOf{}, 2, "premium"},
		"a time":               {command.AsOf{Time: noon.Add(30 * time.Minute)}, 1, "standard"},
		"a time of an event":   {command.AsOf{Time: noon.Add(time.Hour)}, 2, "premium"},
		"before the beginning": {command.AsOf{Time: noon.Add(-time.Hour)}, 0, ""},
		"a seq":                {command.AsOf{Seq: 1}, 1, "standard"},
	} {
		state, err := w.app.StateAsOf(t.Context(), "ada", c.when)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if state.Version != c.version || state.State.Plan() != c.plan {
			t.Errorf("%s: version %d on plan %q, want %d on %q", name, state.Version, state.State.Plan(), c.version, c.plan)
		}
	}
	nobody, err := w.app.State(t.Context(), "nobody")
	if err != nil || nobody.Version != 0 {
		t.Errorf("of a customer without events: version %d, %v", nobody.Version, err)
	}
	if _, err := w.app.State(t.Context(), "not an id"); err == nil {
		t.Error("an id with spaces is read")
	}
}

func TestAnExplanationSaysWhatTheRulesSaidAtThatMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.licensed("ada", "phone-1", "movie-1")
	w.clock.advance(time.Hour)
	must(t)(w.app.BlockDevice(t.Context(), command.BlockDevice{Meta: w.support(), Customer: "ada", DeviceID: "phone-1", Reason: reason}))
	must(t)(w.app.WithdrawTitle(t.Context(), command.WithdrawTitle{Meta: w.meta(), TitleID: "movie-2"}))
	before := len(w.recorded())
	ask := domain.AcquireRequest{DeviceID: "phone-1", DeviceType: "phone-x", TitleID: "movie-2", Country: "DE"}
	now, err := w.app.Explain(t.Context(), command.ExplainRequest{Customer: "ada", Acquire: &ask})
	if err != nil {
		t.Fatal(err)
	}
	refusing := map[string]bool{}
	for _, r := range now.Decision.Rules {
		if r.Outcome == domain.RuleRefuse {
			refusing[r.Code] = true
		}
	}
	if now.Decision.Outcome != domain.OutcomeRefuse || !refusing[domain.CodeTitleWithdrawn] || !refusing[domain.CodeDeviceBlocked] {
		t.Errorf("now: %+v", now.Decision)
	}
	then, err := w.app.Explain(t.Context(), command.ExplainRequest{Customer: "ada", Acquire: &ask, When: command.AsOf{Time: noon.Add(time.Minute)}})
	if err != nil {
		t.Fatal(err)
	}
	if then.Decision.Outcome != domain.OutcomeGrant || !then.Decision.DecidedAt.Equal(noon.Add(time.Minute)) {
		t.Errorf("then: %+v", then.Decision)
	}
	if _, err := w.app.Explain(t.Context(), command.ExplainRequest{Customer: "ada"}); err == nil {
		t.Error("nothing is explained")
	}
	if n := len(w.recorded()) - before; n != 0 {
		t.Errorf("%d events were recorded", n)
	}
}

func TestEveryRecordedDecisionIsMadeAgainByteForByte(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var decisions []*domain.Decision
	steps := conversation(w)
	for _, s := range steps {
		w.clock.advance(time.Second)
		r := must(t)(s.do(t.Context(), w.app))
		if r.Decision != nil && len(r.Events) > 0 {
			decisions = append(decisions, r.Decision)
		}
	}
	must(t)(w.app.PublishPolicy(t.Context(), command.PublishPolicy{Meta: w.meta(), Policy: domain.PolicyDefault, Document: fewDevices(1)}))
	if len(decisions) < 4 {
		t.Fatalf("only %d decisions were recorded", len(decisions))
	}
	for _, d := range decisions {
		again, err := w.app.Decision(t.Context(), "ada", d.ID)
		if err != nil {
			t.Errorf("decision %s on %s: %v", d.ID, d.Command, err)
			continue
		}
		if !again.Same {
			t.Errorf("decision %s on %s is another today:\n%+v\n%+v", d.ID, d.Command, again.Recorded, again.Again)
		}
	}
	if _, err := w.app.Decision(t.Context(), "ada", "dec_none"); !errors.Is(err, domain.ErrNotFound) {
		t.Errorf("an unknown decision: %v", err)
	}
}
