package profile

import (
	"context"

	"carryon/command"
	"carryon/domain"
)

// laterStore is an event store that need not be there yet. Until it is, every call is command.ErrUnavailable, and
// nothing was written.
type laterStore[S eventStore] struct{ *later[S] }

var _ eventStore = laterStore[eventStore]{}

func (l laterStore[S]) Claim(ctx context.Context, e *domain.Entry) (command.Claimed, error) {
	s, err := l.get()
	if err != nil {
		return command.Claimed{}, err
	}
	return s.Claim(ctx, e)
}

func (l laterStore[S]) Head(ctx context.Context, shard int) (domain.Head, error) {
	s, err := l.get()
	if err != nil {
		return domain.Head{}, err
	}
	return s.Head(ctx, shard)
}

func (l laterStore[S]) Read(ctx context.Context, shard int, from uint64, maxBytes int) ([]domain.Entry, error) {
	s, err := l.get()
	if err != nil {
		return nil, err
	}
	return s.Read(ctx, shard, from, maxBytes)
}

func (l laterStore[S]) Progress(ctx context.Context, shard int) (uint64, error) {
	s, err := l.get()
	if err != nil {
		return 0, err
	}
	return s.Progress(ctx, shard)
}

func (l laterStore[S]) Derive(ctx context.Context, entries []domain.Entry) error {
	s, err := l.get()
	if err != nil {
		return err
	}
	return s.Derive(ctx, entries)
}

func (l laterStore[S]) ReadStream(ctx context.Context, stream domain.StreamID, from uint64, maxBytes int) ([]domain.Event, error) {
	s, err := l.get()
	if err != nil {
		return nil, err
	}
	return s.ReadStream(ctx, stream, from, maxBytes)
}

func (l laterStore[S]) LoadSnapshot(ctx context.Context, stream domain.StreamID) (command.Snapshot, bool, error) {
	s, err := l.get()
	if err != nil {
		return command.Snapshot{}, false, err
	}
	return s.LoadSnapshot(ctx, stream)
}

func (l laterStore[S]) SaveSnapshots(ctx context.Context, snapshots []command.Snapshot) error {
	s, err := l.get()
	if err != nil {
		return err
	}
	return s.SaveSnapshots(ctx, snapshots)
}
