package memory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"carryon/command"
)

// Members is a list of living processes in memory.
type Members struct {
	mu     sync.Mutex
	known  map[string]known
	broken error
}

type known struct {
	member command.Member
	until  time.Time
}

var _ command.Members = (*Members)(nil)

// NewMembers knows nobody.
func NewMembers() *Members { return &Members{known: map[string]known{}} }

// Break has every call fail with an error; nil: it works again.
func (l *Members) Break(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = err
}

// Beat makes a process known, or renews what is known of it.
func (l *Members) Beat(ctx context.Context, m command.Member, ttl time.Duration) error {
	if err := m.Check(); err != nil {
		return err
	}
	if ttl < time.Second || ttl%time.Second != 0 {
		return fmt.Errorf("member %q: a ttl of %s is not a number of whole seconds", m.Name, ttl)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.fails(ctx); err != nil {
		return err
	}
	m.Roles, m.Reads = slices.Clone(m.Roles), maps.Clone(m.Reads)
	l.known[m.Name] = known{member: m, until: time.Now().Add(ttl)}
	return nil
}

// List returns the processes that are known, in order of name.
func (l *Members) List(ctx context.Context) ([]command.Member, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.fails(ctx); err != nil {
		return nil, err
	}
	var list []command.Member
	for name, k := range l.known {
		if !time.Now().Before(k.until) {
			delete(l.known, name)
			continue
		}
		m := k.member
		m.Roles, m.Reads = slices.Clone(m.Roles), maps.Clone(m.Reads)
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b command.Member) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// Leave forgets a process at once.
func (l *Members) Leave(ctx context.Context, name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.fails(ctx); err != nil {
		return err
	}
	delete(l.known, name)
	return nil
}

func (l *Members) fails(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return l.broken
}
