package cassandra

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"carryon/command"
)

// Members are the living processes, in one partition: a row each, which forgets itself.
type Members struct{ store *Store }

var _ command.Members = Members{}

// Members is where processes tell of themselves.
func (s *Store) Members() Members { return Members{s} }

const longestTTL = 20 * 365 * 24 * time.Hour // the server takes no longer one

// Beat implements command.Members.
func (m Members) Beat(ctx context.Context, member command.Member, ttl time.Duration) error {
	if err := member.Check(); err != nil {
		return err
	}
	if ttl < time.Second || ttl%time.Second != 0 || ttl > longestTTL {
		return fmt.Errorf("member %q: a time to live of %s is not a number of whole seconds, at least one", member.Name, ttl)
	}
	data, err := json.Marshal(member)
	if err == nil {
		q := m.store.session.Query(`INSERT INTO members (one, name, member) VALUES (1, ?, ?) USING TTL ?`, member.Name, data, int(ttl/time.Second))
		err = m.store.write(ctx, q)
	}
	if err != nil {
		return fmt.Errorf("member %q: %w", member.Name, err)
	}
	return nil
}

// List implements command.Members.
func (m Members) List(ctx context.Context) (members []command.Member, err error) {
	err = m.store.limited(ctx, func(ctx context.Context) error {
		rows := m.store.at(quorum, m.store.session.Query(`SELECT member FROM members WHERE one = 1`)).WithContext(ctx).Iter()
		for {
			var data []byte
			if !rows.Scan(&data) {
				return rows.Close()
			}
			var member command.Member
			if err := json.Unmarshal(data, &member); err != nil {
				m.store.cfg.Logger.Warn("member not understood", "error", err.Error())
				continue
			}
			members = append(members, member)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("listing members: %w", err)
	}
	return members, nil
}

// Leave implements command.Members.
func (m Members) Leave(ctx context.Context, name string) error {
	if err := m.store.write(ctx, m.store.session.Query(`DELETE FROM members WHERE one = 1 AND name = ?`, name)); err != nil {
		return fmt.Errorf("member %q leaves: %w", name, err)
	}
	return nil
}
