package command_test

import (
	"errors"
	"fmt"
	"testing"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/memory"
)

func TestAChangeThatIsNotYetCarriedThroughIsNeverToldAsNothingDone(t *testing.T) {
	t.Parallel()
	f := &faults{}
	w := newWorld(t, withFaults(f))
	w.joined("ada")
	if r, err := w.app.AcquireLicense(t.Context(), w.acquire("ada", "phone-1", fmt.Sprintf("film-%d", 1))); err != nil || r.Refused() {
		t.Fatalf("acquiring: %v, %v", r.Decision, err)
	}
	store := f.Log.(*memory.Connection)
	store.Inject(failing(memory.OpHead)) // the first part records nothing, and needs a look at the head for that
	c := command.ChangeMembership{Meta: w.meta(), Customer: "ada", State: domain.MembershipCancelled}
	_, err := w.app.ChangeMembership(t.Context(), c)
	recorded := 0
	for _, e := range w.recorded() {
		if e.CommandID == c.CommandID {
			recorded++
		}
	}
	if recorded < 2 {
		t.Fatalf("%d events are recorded", recorded)
	}
	if !errors.Is(err, command.ErrUnknown) || errors.Is(err, command.ErrUnavailable) {
		t.Errorf("answered with %v, although %d events are recorded", err, recorded)
	}
	store.Inject(nil)
	if r, err := w.app.ChangeMembership(t.Context(), c); err != nil || len(r.Events) != recorded {
		t.Errorf("repeated: %d events, %v", len(r.Events), err)
	}
}
