//go:build real && ring

package profile

import "testing"

// The same with a ring of three, whose copies were not made at the same moment.
func TestARingThatIsSetBackBySnapshotsIsFoundAndTheReadModelsAreRebuilt(t *testing.T) {
	setBackBySnapshots(t, 3, "127.0.11", 7899)
}
