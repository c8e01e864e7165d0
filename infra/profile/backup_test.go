package profile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"carryon/api/cli"
	"carryon/api/simulate"
	"carryon/projector"
)

// load gives commands and applies them.
func load(t *testing.T, s *System, seed uint64, prefix string, commands int64) {
	t.Helper()
	titles := catalogueFiles{s.catalogue}
	if _, err := simulate.Run(t.Context(), simulate.Handlers{App: s.Commands()}, simulate.Options{
		Seed: seed, Households: 20, Prefix: prefix, Callers: 4, Commands: commands, Patience: 3, Titles: titles, Lookup: titles.Title,
	}); err != nil {
		t.Fatal(err)
	}
}

func auditClean(t *testing.T, s *System) {
	t.Helper()
	report, err := s.Audit(t.Context(), cli.AuditOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !report.Clean() || !report.AtTails() {
		t.Errorf("differences %v, models %+v, parked %v", report.Differences, report.Models, report.Parked)
	}
}

func TestEveryReadModelIsRebuiltBesideCommands(t *testing.T) {
	t.Parallel()
	s := openTest(t, t.TempDir())
	defer func() {
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	load(t, s, 21, "a", 800)
	if err := s.CatchUp(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.models.runners.Run(running) // what stops it is in the audit
	}()
	for i, m := range s.models.all {
		if m.Generation() != 1 {
			t.Fatalf("%s begins with generation %d", m.Name(), m.Generation())
		}
		load(t, s, uint64(30+i), string(rune('b'+i)), 100)
		if err := s.Rebuild(t.Context(), m.Name(), projector.RebuildOptions{}, nil); err != nil {
			t.Fatal(err)
		}
		if m.Generation() != 2 {
			t.Errorf("%s: generation %d is read", m.Name(), m.Generation())
		}
	}
	stop()
	<-ended
	if err := s.CatchUp(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	auditClean(t, s)
	for _, m := range s.models.all {
		if _, err := os.Stat(filepath.Join(s.config.Data, "read", m.Name()+".1.db")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the old generation of %s is still there: %v", m.Name(), err)
		}
	}
}

func TestABackupIsWholeAndRestoredIsTheSame(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, filepath.Join(dir, "data"))
	load(t, s, 5, "a", 600)
	to := filepath.Join(dir, "saved")
	saved, err := s.Backup(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Backup(t.Context(), to); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over another backup: %v", err)
	}
	if _, err := s.Backup(t.Context(), filepath.Join(s.config.Data, "x")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("into what is copied: %v", err)
	}
	load(t, s, 6, "b", 200) // what comes later is not in it
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := *s.config
	c.Data = filepath.Join(dir, "again")
	restored, err := restore(t.Context(), &c, to)
	if err != nil || restored != saved || saved.Events == 0 {
		t.Fatalf("%+v instead of %+v: %v", restored, saved, err)
	}
	if _, err := restore(t.Context(), &c, to); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a folder that holds something: %v", err)
	}
	again := openTest(t, c.Data)
	defer again.Close(context.WithoutCancel(t.Context()))
	if err := again.CatchUp(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	auditClean(t, again)
	load(t, again, 7, "a", 100) // and life goes on
}

func TestADamagedBackupIsNotRestored(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, filepath.Join(dir, "data"))
	load(t, s, 8, "a", 100)
	to := filepath.Join(dir, "saved")
	if _, err := s.Backup(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(to, "carryon.db")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	c := *s.config
	c.Data = filepath.Join(dir, "again")
	if _, err := restore(t.Context(), &c, to); err == nil || !strings.Contains(err.Error(), "carryon.db") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(c.Data); !errors.Is(err, fs.ErrNotExist) {
		t.Error("something was made of a damaged backup")
	}
}

// A log that is set back by a copy from before is found by the consumers and by the audit; a rebuild mends it.
func TestALogFromBeforeItsReadModelsIsFoundAndMended(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data, to := filepath.Join(dir, "data"), filepath.Join(dir, "saved")
	s := openTest(t, data)
	load(t, s, 9, "a", 200)
	if _, err := s.Backup(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	load(t, s, 10, "b", 200)
	if err := s.CatchUp(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(filepath.Join(data, "carryon.db"+suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := copyFile(filepath.Join(to, "carryon.db"), filepath.Join(data, "carryon.db")); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, data)
	defer s.Close(context.WithoutCancel(t.Context()))
	if err := s.CatchUp(t.Context(), nil); !errors.Is(err, projector.ErrHistoryDiffers) {
		t.Errorf("the consumers: %v", err)
	}
	report, err := s.Audit(t.Context(), cli.AuditOptions{})
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, d := range report.Differences {
		named[d.Where] = true
	}
	for _, m := range s.models.all[1:] { // the reference shard is as it was
		if !named[m.Name()] {
			t.Errorf("the audit does not name %s: %v", m.Name(), report.Differences)
		}
	}
	for _, m := range s.models.all {
		if err := s.Rebuild(t.Context(), m.Name(), projector.RebuildOptions{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	auditClean(t, s)
}
