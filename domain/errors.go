package domain

import "errors"

// What callers can tell apart with errors.Is. Messages say what was being done, to which thing.
var (
	// ErrUnknownEventType: an event of a type this program does not know.
	ErrUnknownEventType = errors.New("unknown event type")
	// ErrFutureVersion: an event or snapshot of a version newer than this program reads.
	ErrFutureVersion = errors.New("written by a newer program")
	// ErrNotFound: the thing a command names is not in the customer's books.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the command does not fit the state, as unblocking a device that is not blocked.
	ErrConflict = errors.New("conflict with the current state")
	// ErrHistoryDiffers: a log or history is not what was read before: a hole, another entry, a forgotten tail.
	ErrHistoryDiffers = errors.New("history differs")
)
