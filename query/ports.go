package query

// Ports is everything the handlers need. What is nil is not part of this process, and what needs it answers
// ErrUnavailable; but Cursors and Clock must be there.
type Ports struct {
	Desk       Desk
	Clock      Clock
	Cursors    *Cursors
	Pseudonyms Pseudonyms
	Words      Words

	// The read models, and by their names what waits for them.
	Customers CustomersModel
	Timeline  TimelineModel
	Denials   DenialsModel
	Analytics AnalyticsModel
	Search    SearchModel
	Reference *References
	Waiters   map[string]Waiter

	Books     Books            // the event store
	Tails     Tails            // of its log; nil: a wait for what is not there lasts until the deadline
	Catalogue func() Catalogue // in force
	Control   ProjectionControl
	Roll      Roll // which processes there are
	Live      *Hub
}

// New is the whole query side over its ports.
func New(p Ports) *App {
	p.Waiters = bounded(p.Waiters)
	if p.Live != nil {
		p.Live.ports = &p
	}
	return &App{
		Live: LiveHandler{&p}, AccessExport: AccessExportHandler{&p},
		Lookup: LookupHandler{&p}, Customer: CustomerHandler{&p}, Devices: DevicesHandler{&p}, Licenses: LicensesHandler{&p},
		Exceptions: ExceptionsHandler{&p}, Denials: DenialsHandler{&p}, Timeline: TimelineHandler{&p}, Explain: ExplainHandler{&p},
		State: StateHandler{&p}, Decision: DecisionHandler{&p}, SearchEvents: SearchEventsHandler{&p}, Analytics: AnalyticsHandler{&p},
		Titles: TitlesHandler{&p}, DeviceTypes: DeviceTypesHandler{&p}, PolicyVersion: PolicyVersionHandler{&p}, PolicyDiff: PolicyDiffHandler{&p}, CommonTimeline: CommonTimelineHandler{&p},
		Projections: ProjectionsHandler{&p}, Parked: ParkedHandler{&p}, RetryParked: RetryParkedHandler{&p},
		RetryAllParked: RetryAllParkedHandler{&p}, DropParked: DropParkedHandler{&p}, RebuildModel: RebuildModelHandler{&p}, Processes: ProcessesHandler{&p},
		Resolve: ResolveHandler{&p}, Access: AccessHandler{&p}, Export: ExportHandler{&p},
		ExportSearch: ExportSearchHandler{&p}, ExportAnalytics: ExportAnalyticsHandler{&p},
	}
}
