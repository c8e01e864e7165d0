package query

import (
	"carryon/domain"
)

// Ports is everything the handlers need. What is nil is not part of this process, and what needs it answers
// ErrUnavailable.
type Ports struct {
	Desk       Desk
	Clock      Clock
	Cursors    *Cursors
	Books      Books
	Words      Words
	Pseudonyms Pseudonyms
	Waiters    map[string]Waiter // by read model
	Timeline   TimelineModel
	Control    ProjectionControl
	Reference  References
	Catalogue  Catalogue
}

// References hands out what is decided for everyone, as the reference read model knows it.
type References interface {
	Reference() domain.Reference
}

// Catalogue is the catalogue in force.
type Catalogue interface {
	// Version is a hash of its content.
	Version() string
}

// New is the whole query side over its ports.
func New(p Ports) *App {
	return &App{
		Lookup: LookupHandler{&p}, Customer: CustomerHandler{&p}, Devices: DevicesHandler{&p}, Licenses: LicensesHandler{&p},
		Exceptions: ExceptionsHandler{&p}, Denials: DenialsHandler{&p}, Timeline: TimelineHandler{&p}, Explain: ExplainHandler{&p},
		State: StateHandler{&p}, Decision: DecisionHandler{&p}, SearchEvents: SearchEventsHandler{&p}, Analytics: AnalyticsHandler{&p},
		Titles: TitlesHandler{&p}, DeviceTypes: DeviceTypesHandler{&p}, PolicyVersion: PolicyVersionHandler{&p}, PolicyDiff: PolicyDiffHandler{&p},
		Projections: ProjectionsHandler{&p}, Parked: ParkedHandler{&p}, RetryParked: RetryParkedHandler{&p},
		Resolve: ResolveHandler{&p}, Access: AccessHandler{&p}, Export: ExportHandler{&p},
	}
}
