package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"

	"carryon/projector"
	"carryon/query"
)

var (
	// ErrStale: the rows were made with another key; the model must be built anew.
	ErrStale = projector.ErrStale
	// ErrNewer: the schema is of a newer program, which this one must not touch.
	ErrNewer = errors.New("schema is of a newer program")
	// ErrGone: the generation was dropped, because another one is read now.
	ErrGone = errors.New("generation of the read model is gone")
)

// storeError says what a failure is to the consumer. Whatever says nothing about the data is transient: the server is
// away, full, busy, or has decided for another transaction.
func storeError(err error) error {
	if err == nil || errors.Is(err, projector.ErrTransient) {
		return err
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch {
		case e.Code == "3F000" || e.Code == "42P01": // no such schema, no such table
			return errors.Join(projector.ErrTransient, ErrGone, err)
		case isTransientCode(e.Code):
			return errors.Join(projector.ErrTransient, err)
		}
		return err
	}
	if connectionLost(err) {
		return errors.Join(projector.ErrTransient, err)
	}
	return err
}

// isTransientCode goes by the classes of SQLSTATE: connection, conflict with another transaction (deadlocks among them),
// out of resources, not in the right state (locks), operator (time-outs, shutdown), system and internal errors; and a
// server that has become a standby, or that has ended a transaction for being idle.
func isTransientCode(code string) bool {
	switch code {
	case "25006", "25P03", "28000", "28P01", "3D000":
		return true
	}
	for _, class := range []string{"08", "40", "53", "55", "57", "58", "F0", "XX"} {
		if strings.HasPrefix(code, class) {
			return true
		}
	}
	return false
}

func connectionLost(err error) bool {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || pgconn.SafeToRetry(err) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, puddle.ErrClosedPool)
}

// readError says what a failure is to the query side.
func readError(err error) error {
	err = storeError(err)
	if errors.Is(err, projector.ErrTransient) {
		return errors.Join(query.ErrUnavailable, err)
	}
	return err
}
