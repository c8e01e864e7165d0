package cassandra

import (
	"context"
	"errors"
	"fmt"

	"github.com/gocql/gocql"

	"carryon/command"
)

// Errors that a store is not opened with.
var (
	// ErrLayout: the store was made with another layout than the one configured.
	ErrLayout = errors.New("another layout")
	// ErrAssumption: what the store rests on does not hold.
	ErrAssumption = errors.New("an assumption does not hold")
)

// failed says what became of a request that reads, or that may be repeated at will, in the words of the ports.
func failed(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, gocql.ErrSessionClosed):
		return fmt.Errorf("%w: %w", command.ErrClosed, err)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", command.ErrUnavailable, context.Cause(ctx))
	case refused(err), errors.Is(err, command.ErrDiffers), errors.Is(err, command.ErrUnavailable):
		return err
	}
	return fmt.Errorf("%w: %w", command.ErrUnavailable, err)
}

// claimFailed says what is known of a claim that was sent. Only what the server refused outright, or what found no
// connection to be sent on, was certainly not written. That a replica is away may be noticed after the others have accepted.
func claimFailed(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, gocql.ErrSessionClosed):
		return fmt.Errorf("%w: %w", command.ErrClosed, err)
	case errors.Is(err, gocql.ErrNoConnections):
		return fmt.Errorf("%w: %w", command.ErrUnavailable, err)
	case refused(err):
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", command.ErrUnknown, context.Cause(ctx))
	}
	return fmt.Errorf("%w: %w", command.ErrUnknown, err)
}

// refused tells whether the server did not even try.
func refused(err error) bool {
	said, ok := errors.AsType[gocql.RequestError](err)
	if !ok {
		return false
	}
	switch said.Code() {
	case gocql.ErrCodeSyntax, gocql.ErrCodeUnauthorized, gocql.ErrCodeInvalid, gocql.ErrCodeConfig, gocql.ErrCodeAlreadyExists, gocql.ErrCodeCredentials:
		return true
	}
	return false
}
