package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/klauspost/compress/s2"

	"carryon/domain"
	"carryon/projector"
	"carryon/query"
)

// Customers keeps the customers' states. A state is bytes that only the fold that made it reads, so the fold's version
// is a part of the rows'.
type Customers struct {
	*store
	projector.ByStream
	pseudonyms query.Pseudonyms
}

var (
	_ projector.Store[projector.CustomersTx] = (*Customers)(nil)
	_ query.CustomersModel                   = (*Customers)(nil)
)

func customersDesign(pseudonyms query.Pseudonyms) design {
	d := designOf("customers", 1000*1+domain.FoldVersion)
	d.key = pseudonyms.Customer("")
	return d
}

// Customers is a generation of the customers. One with pseudonyms of another key is ErrStale.
func (db *DB) Customers(generation int, pseudonyms query.Pseudonyms) *Customers {
	return &Customers{store: newStore(db, customersDesign(pseudonyms), generation), pseudonyms: pseudonyms}
}

// Begin opens a transaction: see projector.Store.
func (s *Customers) Begin(ctx context.Context, shard int) (projector.CustomersTx, error) {
	t, err := s.begin(ctx, shard)
	if err != nil {
		return nil, err
	}
	return customersTx{t, s.pseudonyms}, nil
}

type customersTx struct {
	*tx
	pseudonyms query.Pseudonyms
}

const stateColumns = "stream, version, shard, entry, place, recorded_at, state"

func scanState(r pgx.Rows) (projector.CustomerState, error) {
	s := projector.CustomerState{FoldVersion: domain.FoldVersion}
	var recorded int64
	var packed []byte
	if err := r.Scan(&s.Stream, &s.Version, &s.Position.Shard, &s.Position.Index, &s.Position.Place, &recorded, &packed); err != nil {
		return s, err
	}
	s.RecordedAt = fromMicros(recorded)
	var err error
	if s.State, err = s2.Decode(nil, packed); err != nil {
		return s, projector.Unreadable(fmt.Errorf("unpack the state of %s: %w", s.Stream, err))
	}
	return s, nil
}

// States are the states of those streams that have one.
func (t customersTx) States(ctx context.Context, streams []domain.StreamID) (map[domain.StreamID]projector.CustomerState, error) {
	states := make(map[domain.StreamID]projector.CustomerState, len(streams))
	err := t.each(ctx, "SELECT "+stateColumns+" FROM @.customers WHERE stream = ANY ($1)", []any{texts(streams)}, func(r pgx.Rows) error {
		s, err := scanState(r)
		states[s.Stream] = s
		return err
	})
	return states, err
}

var (
	// The pseudonym of a stream never changes: not to touch it lets a new state take the old one's place in the page.
	saveStates = inserting("customers", `ON CONFLICT (stream) DO UPDATE SET version = excluded.version, shard = excluded.shard, entry = excluded.entry,
		place = excluded.place, recorded_at = excluded.recorded_at, state = excluded.state`,
		"stream text", "pseudonym text", "version bigint", "shard int", "entry bigint", "place int", "recorded_at bigint", "state bytea")
	saveDevices    = replacing("devices", "device, stream", "stream text", "device text", "pseudonym text", "type text", "family text", "seq bigint")
	saveLicenses   = replacing("licenses", "license", "license text", "stream text", "device text", "title text", "seq bigint")
	saveExceptions = replacing("exceptions", "exception", "exception text", "stream text", "code text", "seq bigint")
)

// SaveStates replaces states.
func (t customersTx) SaveStates(ctx context.Context, states []projector.CustomerState) error {
	type state = projector.CustomerState
	for i := range states {
		if states[i].FoldVersion != domain.FoldVersion {
			return fmt.Errorf("state of %s has fold version %d, the store holds %d: %w", states[i].Stream, states[i].FoldVersion, domain.FoldVersion, ErrStale)
		}
	}
	states = lastOfEach(states, func(s *state) domain.StreamID { return s.Stream })
	return t.write(ctx, saveStates,
		columnOf(states, func(s *state) string { return string(s.Stream) }),
		columnOf(states, func(s *state) string { return t.pseudonyms.Customer(s.Stream.ID()) }),
		columnOf(states, func(s *state) int64 { return int64(s.Version) }),
		columnOf(states, func(s *state) int32 { return int32(s.Position.Shard) }),
		columnOf(states, func(s *state) int64 { return int64(s.Position.Index) }),
		columnOf(states, func(s *state) int32 { return int32(s.Position.Place) }),
		columnOf(states, func(s *state) int64 { return micros(s.RecordedAt) }),
		columnOf(states, func(s *state) []byte { return s2.Encode(nil, s.State) }))
}

type streamAndID struct {
	stream domain.StreamID
	id     string
}

// SaveDevices adds or replaces rows.
func (t customersTx) SaveDevices(ctx context.Context, rows []projector.DeviceRow) error {
	type row = projector.DeviceRow
	rows = lastOfEach(rows, func(r *row) streamAndID { return streamAndID{r.Stream, r.DeviceID} })
	return t.write(ctx, saveDevices,
		columnOf(rows, func(r *row) string { return string(r.Stream) }),
		columnOf(rows, func(r *row) string { return r.DeviceID }),
		columnOf(rows, func(r *row) string { return t.pseudonyms.Device(r.Stream.ID(), r.DeviceID) }),
		columnOf(rows, func(r *row) string { return r.Type }),
		columnOf(rows, func(r *row) string { return r.Family }),
		columnOf(rows, func(r *row) int64 { return int64(r.Seq) }))
}

// SaveLicenses adds or replaces rows.
func (t customersTx) SaveLicenses(ctx context.Context, rows []projector.LicenseRow) error {
	type row = projector.LicenseRow
	rows = lastOfEach(rows, func(r *row) string { return r.LicenseID })
	return t.write(ctx, saveLicenses,
		columnOf(rows, func(r *row) string { return r.LicenseID }),
		columnOf(rows, func(r *row) string { return string(r.Stream) }),
		columnOf(rows, func(r *row) string { return r.DeviceID }),
		columnOf(rows, func(r *row) string { return r.TitleID }),
		columnOf(rows, func(r *row) int64 { return int64(r.Seq) }))
}

// SaveExceptions adds or replaces rows.
func (t customersTx) SaveExceptions(ctx context.Context, rows []projector.ExceptionRow) error {
	type row = projector.ExceptionRow
	rows = lastOfEach(rows, func(r *row) string { return r.ExceptionID })
	return t.write(ctx, saveExceptions,
		columnOf(rows, func(r *row) string { return r.ExceptionID }),
		columnOf(rows, func(r *row) string { return string(r.Stream) }),
		columnOf(rows, func(r *row) string { return r.Code }),
		columnOf(rows, func(r *row) int64 { return int64(r.Seq) }))
}

// StreamVersion is how far the model is with a customer.
func (s *Customers) StreamVersion(ctx context.Context, stream domain.StreamID) (projector.StreamVersion, error) {
	return s.streamVersion(ctx, "customers", stream)
}

// State is a customer's state, and whether there is one.
func (s *Customers) State(ctx context.Context, customer string) (projector.CustomerState, bool, error) {
	return s.stateOf(ctx, domain.CustomerStream(customer))
}

func (s *Customers) stateOf(ctx context.Context, stream domain.StreamID) (state projector.CustomerState, found bool, err error) {
	states, err := s.states(ctx, "SELECT "+stateColumns+" FROM @.customers WHERE stream = $1", string(stream))
	if len(states) > 0 {
		state, found = states[0], true
	}
	return state, found, err
}

// StatesAfter returns states in order of stream, after the given one.
func (s *Customers) StatesAfter(ctx context.Context, after domain.StreamID, limit int) ([]projector.CustomerState, error) {
	return s.states(ctx, "SELECT "+stateColumns+" FROM @.customers WHERE stream > $1 ORDER BY stream LIMIT $2", string(after), limit)
}

// StatesWithTitle returns the states of customers who were ever issued a licence for the title, in order of stream.
func (s *Customers) StatesWithTitle(ctx context.Context, title string, after domain.StreamID, limit int) ([]projector.CustomerState, error) {
	return s.states(ctx, "SELECT "+stateColumns+` FROM @.customers WHERE stream IN (
		SELECT DISTINCT stream FROM @.licenses WHERE title = $1 AND stream > $2 ORDER BY stream LIMIT $3) ORDER BY stream`, title, string(after), limit)
}

func (s *Customers) states(ctx context.Context, text string, args ...any) ([]projector.CustomerState, error) {
	var states []projector.CustomerState
	err := s.each(ctx, text, args, func(r pgx.Rows) error {
		state, err := scanState(r)
		states = append(states, state)
		return err
	})
	return states, err
}

// Things are the customers, devices, licences and exceptions with an id: see query.CustomersModel.
func (s *Customers) Things(ctx context.Context, id string, limit int) ([]query.Thing, error) {
	return s.things(ctx, `SELECT kind, stream, device, title FROM (
		SELECT 1 AS rank, 'customer' AS kind, stream, '' AS device, '' AS title FROM @.customers WHERE stream = $2
		UNION ALL SELECT * FROM (SELECT 2, 'device', stream, device, '' FROM @.devices WHERE device = $1 ORDER BY stream LIMIT $3) d
		UNION ALL SELECT 3, 'license', stream, device, title FROM @.licenses WHERE license = $1
		UNION ALL SELECT 4, 'exception', stream, '', '' FROM @.exceptions WHERE exception = $1
	) t ORDER BY rank, stream LIMIT $3`, id, string(domain.CustomerStream(id)), limit)
}

// ThingsBehind are the customers and devices behind a pseudonym.
func (s *Customers) ThingsBehind(ctx context.Context, pseudonym string) ([]query.Thing, error) {
	return s.things(ctx, `SELECT kind, stream, device, '' FROM (
		SELECT 1 AS rank, 'customer' AS kind, stream, '' AS device FROM @.customers WHERE pseudonym = $1
		UNION ALL SELECT 2, 'device', stream, device FROM @.devices WHERE pseudonym = $1
	) t ORDER BY rank, stream LIMIT 10`, pseudonym)
}

func (s *Customers) things(ctx context.Context, text string, args ...any) ([]query.Thing, error) {
	var things []query.Thing
	err := s.each(ctx, text, args, func(r pgx.Rows) error {
		var t query.Thing
		var stream domain.StreamID
		err := r.Scan(&t.Kind, &stream, &t.DeviceID, &t.TitleID)
		t.Customer = stream.ID()
		things = append(things, t)
		return err
	})
	return things, err
}
