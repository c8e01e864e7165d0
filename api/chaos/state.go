package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

// State is what a run has done, kept in its folder.
type State struct {
	Profile  string
	Where    string // whatever tells one event store from others; empty: it is in the folder
	Seed     uint64
	Rounds   int
	Attempts int // rounds begun; no two of them have customers in common
	Store    int // number of the store that is worked on, from 1 on
	InStore  int64
	Elapsed  time.Duration

	Events       int64
	Commands     int64
	Refused      int64 // by the rules
	Acknowledged int64 // that recorded something: those in the journal
	Repeats      int64 // sent again on purpose
	Recomputed   int64
	FaultKinds   map[Kind]int64
	Problems     map[string]int64 // other answers, by code

	Skipped, Doubled, Lost, Unknown, Differently, Otherwise int64
	Found                                                   []string

	faults int64
}

const stateFile = "chaos.json"

// NewState is that of a run that begins.
func NewState(profile, where string, seed uint64) *State {
	return &State{Profile: profile, Where: where, Seed: seed, Store: 1, FaultKinds: map[Kind]int64{}, Problems: map[string]int64{}}
}

// LoadState reads what an earlier run has left; fs.ErrNotExist (wrapped): nothing.
func LoadState(folder string) (*State, error) {
	raw, err := os.ReadFile(filepath.Join(folder, stateFile))
	if err != nil {
		return nil, err
	}
	s := NewState("", "", 0)
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(folder, stateFile), err)
	}
	for _, n := range s.FaultKinds {
		s.faults += n
	}
	return s, nil
}

// Save writes the state so that it is there whole or not at all.
func (s *State) Save(folder string) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(folder, stateFile)
	if err := os.WriteFile(path+".new", append(raw, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Fresh tells whether a folder is empty or not there.
func Fresh(folder string) (bool, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return len(entries) == 0, err
}

// Faults done so far.
func (s *State) Faults() int64 { return s.faults }

// enough tells whether what was asked for is done. With neither a number of events nor of faults, time alone decides.
func (s *State) enough(o *Options) bool {
	if o.Events == 0 && o.Faults == 0 {
		return false
	}
	return s.Events >= o.Events && s.faults >= o.Faults
}

// Clean tells whether nothing was found.
func (s *State) Clean() bool {
	return len(s.Found) == 0 && s.Skipped+s.Doubled+s.Lost+s.Unknown+s.Differently+s.Otherwise == 0
}

// Print writes the report.
func (s *State) Print(w io.Writer) error {
	fmt.Fprintf(w, "%s profile, seed %d: %d rounds in %s\n", s.Profile, s.Seed, s.Rounds, s.Elapsed)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, line := range []struct {
		n    int64
		what string
	}{
		{s.Events, "events"},
		{s.Commands, "commands"},
		{s.Acknowledged, "acknowledged commands that recorded something"},
		{s.Refused, "refused by the rules"},
		{s.Repeats, "commands sent again on purpose"},
		{s.Recomputed, "comparisons of a stream's rows with its events"},
	} {
		fmt.Fprintf(t, "%d\t  %s\n", line.n, line.what)
	}
	fmt.Fprintf(t, "%d\t  faults\n", s.faults)
	for _, kind := range slices.Sorted(maps.Keys(s.FaultKinds)) {
		fmt.Fprintf(t, "%d\t      %s\n", s.FaultKinds[kind], kind)
	}
	for _, code := range slices.Sorted(maps.Keys(s.Problems)) {
		fmt.Fprintf(t, "%d\t  answered %s\n", s.Problems[code], code)
	}
	for _, line := range []struct {
		n    int64
		what string
	}{
		{s.Skipped, "skips"},
		{s.Doubled, "duplicates"},
		{s.Lost, "lost acknowledgements"},
		{s.Unknown, "unresolved unknowns"},
		{s.Differently, "repeats answered differently"},
		{s.Otherwise, "other findings"},
	} {
		fmt.Fprintf(t, "%d\t  %s\n", line.n, line.what)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, found := range s.Found {
		fmt.Fprintln(w, "FOUND", found)
	}
	if s.Clean() {
		fmt.Fprintln(w, "clean: nothing skipped, nothing doubled, nothing lost")
	}
	return nil
}
