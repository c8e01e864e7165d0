package chaos

import "syscall"

// endsWithUs has the system kill a process, even a paused one, when this program is gone: also when that is killed and
// can end nothing itself. It is told by the end of the thread that started the process; threads of a Go program end with
// it, unless a goroutine that is locked to its thread returns, which none here is.
func endsWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
