package simulate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
)

// JournalFile is a file with a line for every acknowledged command that recorded something: customer, version, key. It
// outlives the servers and this program, whoever kills them, but not the machine: each line is written at once, and never
// synced.
type JournalFile struct {
	mu    sync.Mutex
	file  *os.File
	line  []byte
	lines atomic.Int64
}

// OpenJournal opens a file to append to. Half a line at its end, left by a program that was killed, is cut off.
func OpenJournal(path string) (*JournalFile, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the journal: %w", err)
	}
	if err := cutTorn(f); err != nil {
		return nil, errors.Join(fmt.Errorf("the journal: %w", err), f.Close())
	}
	return &JournalFile{file: f}, nil
}

// cutTorn leaves whole lines only, and goes to the end.
func cutTorn(f *os.File) error {
	const longest = 4 << 10
	info, err := f.Stat()
	if err != nil {
		return err
	}
	from := max(0, info.Size()-longest)
	tail := make([]byte, info.Size()-from)
	if _, err := f.ReadAt(tail, from); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	end := from + int64(bytes.LastIndexByte(tail, '\n')) + 1
	if err := f.Truncate(end); err != nil {
		return err
	}
	_, err = f.Seek(end, io.SeekStart)
	return err
}

// Acknowledged notes a command.
func (j *JournalFile) Acknowledged(op Op, a Answer) error {
	if !a.Recorded(op.Customer, op.Key) {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines.Add(1)
	j.line = fmt.Appendf(j.line[:0], "%s %d %s\n", op.Customer, a.Version, op.Key)
	_, err := j.file.Write(j.line)
	return err
}

// Lines that were noted since the file was opened.
func (j *JournalFile) Lines() int64 { return j.lines.Load() }

// Close closes the file.
func (j *JournalFile) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.file.Close()
}
