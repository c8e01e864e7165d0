package domain

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestOfTwoWithdrawalsTheLaterCounts(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.movie("harbour", "aurora")
	next := w.now.AddDate(0, 1, 0)
	from := func(country string) string {
		at, ok := w.WithdrawnFrom("harbour", country)
		if !ok {
			return "never"
		}
		return at.Format(time.DateOnly)
	}
	steps := []struct {
		r        WithdrawRequest
		recorded uint64
		de, fr   string
	}{
		{WithdrawRequest{Countries: []string{"FR", "FR"}, From: next}, 1, "never", "2026-02-15"},
		{WithdrawRequest{Countries: []string{"FR"}, From: next}, 1, "never", "2026-02-15"},
		{WithdrawRequest{Countries: []string{"FR"}, From: next.AddDate(0, 1, 0)}, 2, "never", "2026-03-15"},
		{WithdrawRequest{From: w.now.AddDate(-1, 0, 0)}, 3, "2026-01-15", "2026-01-15"},
		{WithdrawRequest{}, 3, "2026-01-15", "2026-01-15"},
		{WithdrawRequest{Countries: []string{"DE"}, From: next}, 4, "2026-02-15", "2026-01-15"},
		{WithdrawRequest{}, 5, "2026-01-15", "2026-01-15"},
	}
	for i, x := range steps {
		w.withdraw(t, "harbour", x.r)
		books := w.withdrawn["harbour"]
		if books.Version() != x.recorded || from("DE") != x.de || from("FR") != x.fr {
			t.Errorf("step %d: version %d, DE %s, FR %s", i, books.Version(), from("DE"), from("FR"))
		}
		restored, err := RestoreAggregate("title/harbour", FoldVersion, string(marshalled(t, books)))
		if err != nil {
			t.Fatal(err)
		}
		sameState(t, "restored", restored, books)
	}
	_, err := w.withdrawn["harbour"].Withdraw(w.moment(), WithdrawRequest{Countries: []string{"Bavaria"}})
	if field, ok := errors.AsType[*FieldError](err); !ok || field.Field != "countries" {
		t.Errorf("a country that is none: %v", err)
	}
	if _, err := (&Withdrawals{title: "missing"}).Withdraw(w.moment(), WithdrawRequest{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a title that is none: %v", err)
	}
}

func TestPolicyVersionsAreNumberedFromTwo(t *testing.T) {
	t.Parallel()
	w := newWorld()
	p := &PolicyVersions{name: PolicyDefault}
	publish := func(document string, from time.Time) *PolicyPublished {
		t.Helper()
		v, err := p.Publish(w.moment(), PublishRequest{Document: []byte(document), EffectiveFrom: from})
		if err != nil {
			t.Fatal(err)
		}
		if len(v.Events) == 0 {
			return nil
		}
		e := Event{Stream: PolicyStream(PolicyDefault), Seq: p.Version() + 1, RecordedAt: w.now}
		if err := e.SetData(v.Events[0].Payload); err != nil {
			t.Fatal(err)
		}
		if err := p.Apply(&e); err != nil {
			t.Fatal(err)
		}
		return v.Events[0].Payload.(*PolicyPublished)
	}
	if got := publish(`{"a":1}`, w.now.AddDate(0, 0, 7)); got.Version != 2 || !got.EffectiveFrom.Equal(w.now.AddDate(0, 0, 7)) {
		t.Errorf("first %+v", got)
	}
	if got := publish(`{"a":2}`, time.Time{}); got.Version != 3 || !got.EffectiveFrom.Equal(w.now) {
		t.Errorf("then %+v", got)
	}
	if got := publish(`{"a":2}`, time.Time{}); got != nil {
		t.Errorf("the same again %+v", got)
	}
	if got := p.Newest(); got != 3 {
		t.Errorf("the newest is %d", got)
	}
	if _, err := p.Publish(w.moment(), PublishRequest{}); err == nil {
		t.Error("an empty document is published")
	}
	restored, err := RestoreAggregate("policy/default", FoldVersion, string(marshalled(t, p)))
	if err != nil {
		t.Fatal(err)
	}
	sameState(t, "restored", restored, p)
}

func TestFailOpenGrantsAreFewShortAndSettled(t *testing.T) {
	t.Parallel()
	w := newWorld()
	f := &FailOpen{customer: "c1"}
	w.movie("north", "borealis")
	w.movie("harbour", "aurora")
	apply := func(events []NewEvent) {
		t.Helper()
		for _, n := range events {
			e := Event{Stream: FailOpenStream("c1"), Seq: f.Version() + 1, RecordedAt: w.now}
			if err := e.SetData(n.Payload); err != nil {
				t.Fatal(err)
			}
			if err := f.Apply(&e); err != nil {
				t.Fatal(err)
			}
		}
	}
	grant := func(device, title string) Verdict {
		t.Helper()
		r := w.ask(device, title)
		r.Country = "DE"
		v, err := f.Grant(w.moment(), r)
		if err != nil {
			t.Fatal(err)
		}
		apply(v.Events)
		return v
	}
	if v := grant("phone", "harbour"); v.Decision.Code != CodeFailClosed || len(v.Events) != 0 {
		t.Errorf("a studio that fails closed: %s", explain(v.Decision))
	}
	issued := grant("phone", "north").Events[0].Payload.(*LicenseIssued)
	if issued.Basis != BasisFailOpen || !issued.ExpiresAt.Equal(w.now.Add(24*time.Hour)) || issued.LimitedBy != LimitedByLicense {
		t.Errorf("the grant is %+v", issued)
	}
	again, ok := grant("phone", "north").Events[0].Payload.(*LicenseReissued)
	if !ok || again.LicenseID != issued.LicenseID || again.Reissue != 1 || !again.ExpiresAt.Equal(*issued.ExpiresAt) {
		t.Errorf("the same again is %+v", again)
	}
	for i := range maxOpenGrants - 1 {
		if v := grant(fmt.Sprint("device-", i), "north"); len(v.Events) != 1 {
			t.Fatalf("grant %d: %s", i, explain(v.Decision))
		}
	}
	if v := grant("one-too-many", "north"); v.Decision.Outcome != OutcomeRefuse {
		t.Error("there is no end to it")
	}
	if v := grant("phone", "north"); v.Decision.Outcome != OutcomeGrant {
		t.Error("what is open is not given out again")
	}
	w.policy.General.MaxOpenGrants = maxOpenGrants + 1
	if v, err := f.Grant(w.moment(), w.ask("one-too-many", "north")); err != nil || v.Decision.Outcome != OutcomeGrant || *v.Decision.Rules[0].Limit != maxOpenGrants+1 {
		t.Errorf("the policy allows one more: %v, %s", err, explain(v.Decision))
	}
	restored, err := RestoreAggregate("failopen/c1", FoldVersion, string(marshalled(t, f)))
	if err != nil {
		t.Fatal(err)
	}
	sameState(t, "restored", restored, f)

	settle := func(id, outcome string) (Verdict, error) {
		return f.Settle(w.moment(), GrantReconciled{Subject: Subject{LicenseID: id}, Outcome: outcome})
	}
	if _, err := settle(issued.LicenseID, "lost"); err == nil {
		t.Error("an outcome that is none")
	}
	v, err := settle(issued.LicenseID, ReconciledKept)
	if err != nil || len(v.Events) != 1 {
		t.Fatalf("settling: %v, %d events", err, len(v.Events))
	}
	apply(v.Events)
	if v, err = settle(issued.LicenseID, ReconciledKept); err != nil || len(v.Events) != 0 {
		t.Errorf("settling twice: %v, %d events", err, len(v.Events))
	}
	if open := f.Open(); len(open) != maxOpenGrants-1 {
		t.Errorf("%d are open", len(open))
	}
	if _, err := w.books.Reconcile(w.moment(), &LicenseIssued{Basis: BasisBooks}); !errors.Is(err, ErrConflict) {
		t.Errorf("a grant on the books is reconciled: %v", err)
	}
}
