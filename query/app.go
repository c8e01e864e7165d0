// Package query answers: one file per question, each with its request, its answer, its handler and the read model it
// asks. It reads what the projectors built, and the event store only where a caller asks for an authoritative answer.
package query

// App is the table of contents: everything that can be asked.
type App struct {
	Lookup LookupHandler // an id → what it is

	Customer   CustomerHandler   // plan, membership, slots, counters
	Devices    DevicesHandler    // slots, and who holds them
	Licenses   LicensesHandler   // both remaining durations, removal
	Exceptions ExceptionsHandler // what support has allowed
	Denials    DenialsHandler    // what was refused, and why
	Timeline   TimelineHandler   // everything that happened
	Explain    ExplainHandler    // why (not): the whole decision, now or at a past moment
	State      StateHandler      // the state at any moment
	Decision   DecisionHandler   // a past decision

	SearchEvents SearchEventsHandler // full text, filters, facets
	Analytics    AnalyticsHandler    // counts over time
	Live         LiveHandler         // the running stream

	Titles        TitlesHandler        // the catalogue
	DeviceTypes   DeviceTypesHandler   // the device types in force
	PolicyVersion PolicyVersionHandler // one version of a policy document
	PolicyDiff    PolicyDiffHandler    // field by field

	CommonTimeline CommonTimelineHandler // what happened to a title or a policy, and why

	Projections ProjectionsHandler // how far the read models are
	Parked      ParkedHandler      // which streams wait, and why
	RetryParked RetryParkedHandler // let a parked stream flow again

	RetryAllParked RetryAllParkedHandler // let all of them
	DropParked     DropParkedHandler     // leave an event out, for a reason that is recorded
	RebuildModel   RebuildModelHandler   // build a read model anew beside itself
	Processes      ProcessesHandler      // which processes there are, and what each uses

	Resolve ResolveHandler // an analyst asks who stands behind a pseudonym
	Access  AccessHandler  // who looked at a customer
	Export  ExportHandler  // rows of the above, streamed

	ExportSearch    ExportSearchHandler    // every hit of a search
	ExportAnalytics ExportAnalyticsHandler // counts over time, as rows

	AccessExport AccessExportHandler // everything that is held about one customer
}
