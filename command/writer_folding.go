package command

import (
	"fmt"
	"strings"

	"carryon/domain"
)

// DomainFolding is how the domain's streams are folded and its events recorded.
func DomainFolding() Folding {
	return Folding{
		Version: domain.FoldVersion,
		Empty:   domain.NewAggregate,
		Restore: func(stream domain.StreamID, data string) (domain.Aggregate, error) {
			return domain.RestoreAggregate(stream, domain.FoldVersion, data)
		},
		Record:   (*domain.Event).SetData,
		Decision: recordedDecision,
	}
}

// Readers say what the living processes can read.
type Readers interface {
	// ReadUpTo is the newest schema version of an event type that all of them read, 0 if somebody doesn't know the type,
	// and the names of those who read less than this program writes.
	ReadUpTo(typ string) (version int, behind []string)
}

// RecordFor records events in the newest schema versions that all readers read. Its errors wrap ErrUnavailable: what
// cannot be written for all of them waits until those who are behind were updated.
func RecordFor(readers Readers) func(*domain.Event, domain.Payload) error {
	return func(e *domain.Event, p domain.Payload) error {
		version, behind := readers.ReadUpTo(p.EventType())
		if len(behind) == 0 {
			return e.SetData(p)
		}
		if err := e.SetDataUpTo(p, version); err != nil {
			return fmt.Errorf("%w: processes that must be updated first: %s: %w", ErrUnavailable, strings.Join(behind, ", "), err)
		}
		return nil
	}
}

// recordedDecision is the decision that an event records, nil if it records none.
func recordedDecision(e *domain.Event) (*domain.Decision, error) {
	data, err := e.Data()
	if err != nil {
		return nil, err
	}
	switch p := data.(type) {
	case *domain.LicenseIssued:
		return &p.Decision, nil
	case *domain.LicenseReissued:
		return &p.Decision, nil
	case *domain.LicenseRenewed:
		return &p.Decision, nil
	case *domain.LicenseDenied:
		return &p.Decision, nil
	}
	return nil, nil
}
