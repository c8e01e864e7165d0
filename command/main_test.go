package command_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Every goroutine has an owner that stops it: none is left when the tests have ended.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
