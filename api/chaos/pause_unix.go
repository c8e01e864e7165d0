//go:build unix

package chaos

import (
	"os"
	"syscall"
)

// Signals that stop a process for a while and let it go on.
var stopSignal, goOnSignal os.Signal = syscall.SIGSTOP, syscall.SIGCONT
