package domain

import "fmt"

// stateful is an aggregate that can be read back from a snapshot.
type stateful interface {
	Aggregate
	walk(stateCoder)
}

// NewAggregate is the state of a stream before its first event.
func NewAggregate(stream StreamID) (Aggregate, error) { return newState(stream) }

// RestoreAggregate reads a snapshot back. A snapshot of another fold version, or a damaged one, is an error; it is to
// be ignored then, and the events are folded from the first on. What is read shares the memory of data.
func RestoreAggregate(stream StreamID, foldVersion int, data string) (Aggregate, error) {
	switch {
	case foldVersion > FoldVersion:
		return nil, fmt.Errorf("snapshot of %s has fold version %d: %w", stream, foldVersion, ErrFutureVersion)
	case foldVersion != FoldVersion:
		return nil, fmt.Errorf("snapshot of %s has fold version %d; this program folds version %d", stream, foldVersion, FoldVersion)
	}
	state, err := newState(stream)
	if err != nil {
		return nil, err
	}
	if err := unmarshalState(state, data); err != nil {
		return nil, fmt.Errorf("snapshot of %s: %w", stream, err)
	}
	return state, nil
}

func newState(stream StreamID) (stateful, error) {
	id := stream.ID()
	if id == "" {
		return nil, fmt.Errorf("stream %q names nothing", stream)
	}
	switch stream.Kind() {
	case KindCustomer:
		return NewCustomer(id), nil
	case KindTitle:
		return &Withdrawals{title: id}, nil
	case KindPolicy:
		return &PolicyVersions{name: id}, nil
	case KindFailOpen:
		return &FailOpen{customer: id}, nil
	}
	return nil, fmt.Errorf("stream %q is of no known kind", stream)
}

var (
	_ stateful = (*Customer)(nil)
	_ stateful = (*Withdrawals)(nil)
	_ stateful = (*PolicyVersions)(nil)
	_ stateful = (*FailOpen)(nil)
)
