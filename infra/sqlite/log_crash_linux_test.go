package sqlite_test

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

func init() {
	roles["limited"] = func(argument string, out io.Writer) error {
		room, path, _ := strings.Cut(argument, ":")
		bytes, err := strconv.ParseUint(room, 10, 64)
		if err != nil {
			return err
		}
		signal.Ignore(syscall.SIGXFSZ) // a write that is too long fails instead
		return claimWithLimit(path, out, func() error {
			wal, err := os.Stat(path + "-wal")
			if err != nil {
				return err
			}
			limit := uint64(wal.Size()) + bytes
			if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
				return fmt.Errorf("limiting the size of files to %d: %w", limit, err)
			}
			return nil
		})
	}
}
