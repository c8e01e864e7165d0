//go:build real

package profile

import (
	"context"

	"carryon/domain"
	"carryon/infra/provision"
)

// Provision is for tests of this package and of the program.
var Provision = provision.Settings

// Shows tells whether every read model's store has reached what was recorded.
func (s *System) Shows(ctx context.Context, heads map[int]domain.Head) (bool, error) {
	for _, m := range s.models.all {
		applied, err := m.Checkpoints(ctx)
		if err != nil {
			return false, err
		}
		for shard, head := range heads {
			if applied[shard].Index < head.Index {
				return false, nil
			}
		}
	}
	return true, nil
}
