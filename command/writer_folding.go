package command

import "carryon/domain"

// DomainFolding is how the domain's streams are folded and its events recorded.
func DomainFolding() Folding {
	return Folding{
		Version: domain.FoldVersion,
		Empty:   domain.NewAggregate,
		Restore: func(stream domain.StreamID, data []byte) (domain.Aggregate, error) {
			return domain.RestoreAggregate(stream, domain.FoldVersion, data)
		},
		Record:   (*domain.Event).SetData,
		Decision: recordedDecision,
	}
}

// recordedDecision is the decision that an event records, nil if it records none.
func recordedDecision(e *domain.Event) *domain.Decision {
	data, err := e.Data()
	if err != nil {
		return nil
	}
	switch p := data.(type) {
	case *domain.LicenseIssued:
		return &p.Decision
	case *domain.LicenseReissued:
		return &p.Decision
	case *domain.LicenseRenewed:
		return &p.Decision
	case *domain.LicenseDenied:
		return &p.Decision
	}
	return nil
}
