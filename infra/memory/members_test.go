package memory_test

import (
	"testing"

	"carryon/command"
	"carryon/infra/conformance"
	"carryon/infra/memory"
)

func TestTheMembersInMemoryAreMembers(t *testing.T) {
	conformance.Members(t, func(*testing.T) func(*testing.T) command.Members {
		list := memory.NewMembers()
		return func(*testing.T) command.Members { return list }
	})
}
