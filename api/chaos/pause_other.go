//go:build !unix

package chaos

import (
	"os"
	"syscall"
)

// Processes can't be stopped for a while here: nothing happens instead.
var stopSignal, goOnSignal os.Signal = syscall.Signal(0), syscall.Signal(0)
