package readmodel

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"carryon/domain"
	"carryon/projector"
	"carryon/query"
)

// A state is a blob that only the fold that made it reads, so the fold's version is a part of the schema's: a file of
// another fold is built anew, never written on.
var customersSchema = schema{Model: "customers", Version: 1000*4 + domain.FoldVersion, Tables: `
CREATE TABLE customers (
	stream TEXT PRIMARY KEY, pseudonym TEXT NOT NULL, version INTEGER NOT NULL, shard INTEGER NOT NULL, entry INTEGER NOT NULL,
	place INTEGER NOT NULL, recorded_at INTEGER NOT NULL, state BLOB NOT NULL
);
-- Of what a customer has, the rows stand together: what comes with one transaction lies in few places.
CREATE TABLE devices (
	stream TEXT NOT NULL, device TEXT NOT NULL, pseudonym TEXT NOT NULL, type TEXT NOT NULL, family TEXT NOT NULL, seq INTEGER NOT NULL,
	PRIMARY KEY (stream, device)
) WITHOUT ROWID;
CREATE TABLE licenses (
	stream TEXT NOT NULL, license TEXT NOT NULL, device TEXT NOT NULL, title TEXT NOT NULL, seq INTEGER NOT NULL,
	PRIMARY KEY (stream, license)
) WITHOUT ROWID;
CREATE TABLE exceptions (
	stream TEXT NOT NULL, exception TEXT NOT NULL, code TEXT NOT NULL, seq INTEGER NOT NULL,
	PRIMARY KEY (stream, exception)
) WITHOUT ROWID;
CREATE TABLE pseudonyms (sample TEXT NOT NULL); -- what the key makes of nothing, so that another key is noticed
`, Indexes: `
CREATE UNIQUE INDEX IF NOT EXISTS customers_pseudonym ON customers (pseudonym);
CREATE INDEX IF NOT EXISTS devices_pseudonym ON devices (pseudonym);
CREATE INDEX IF NOT EXISTS licenses_title ON licenses (title, stream);
CREATE INDEX IF NOT EXISTS devices_device ON devices (device); -- these three lead from an id to its customer
CREATE INDEX IF NOT EXISTS licenses_license ON licenses (license);
CREATE INDEX IF NOT EXISTS exceptions_exception ON exceptions (exception);
`}

// Customers keeps the customers' states.
type Customers struct {
	*file
	projector.ByStream
	pseudonyms query.Pseudonyms
	saved      *recent[domain.StreamID, savedState] // of the holder of the turn
}

// savedState is a state as it was written.
type savedState struct {
	projector.CustomerState
	pseudonym string
}

const (
	recentStates  = 16 << 20 // bytes of states are remembered
	stateOverhead = 384      // is about what one takes beside its bytes
)

var (
	_ projector.Store[projector.CustomersTx] = (*Customers)(nil)
	_ query.CustomersModel                   = (*Customers)(nil)
)

// OpenCustomers opens or makes the file of the customers. It returns ErrStale (wrapped) for a file of another fold or
// with pseudonyms of another key.
func OpenCustomers(ctx context.Context, path string, pseudonyms query.Pseudonyms) (*Customers, error) {
	f, err := openFile(ctx, path, customersSchema)
	if err != nil {
		return nil, err
	}
	saved := newRecent[domain.StreamID](recentStates, func(s savedState) int { return stateOverhead + len(s.State) })
	f.remembers = append(f.remembers, saved)
	s := &Customers{file: f, pseudonyms: pseudonyms, saved: saved}
	if err := s.checkPseudonyms(ctx); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("open read model customers at %s: %w", path, err)
	}
	return s, nil
}

func (s *Customers) checkPseudonyms(ctx context.Context) error {
	var stored string
	sample := s.pseudonyms.Customer("") // what the key makes of nothing
	found, err := s.one(ctx, "SELECT sample FROM pseudonyms", nil, &stored)
	switch {
	case err != nil:
		return err
	case !found:
		return s.notePseudonyms(ctx, sample)
	case stored != sample:
		return fmt.Errorf("its pseudonyms were made with another key: %w", ErrStale)
	}
	return nil
}

// notePseudonyms says which key the pseudonyms are made with.
func (s *Customers) notePseudonyms(ctx context.Context, sample string) error {
	t, err := s.begin(ctx, domain.ReferenceShard)
	if err != nil {
		return err
	}
	defer t.Rollback()
	if err := t.exec(ctx, "INSERT INTO pseudonyms (sample) VALUES (?)", sample); err != nil {
		return err
	}
	return t.Commit(ctx, t.at)
}

// Begin opens a transaction: see projector.Store.
func (s *Customers) Begin(ctx context.Context, shard int) (projector.CustomersTx, error) {
	t, err := s.begin(ctx, shard)
	if err != nil {
		return nil, err
	}
	return customersTx{t, s.pseudonyms, s.saved}, nil
}

type customersTx struct {
	*tx
	pseudonyms query.Pseudonyms
	saved      *recent[domain.StreamID, savedState]
}

const stateColumns = "stream, version, shard, entry, place, recorded_at, state"

func scanState(r *sql.Rows) (projector.CustomerState, error) {
	s := projector.CustomerState{FoldVersion: domain.FoldVersion}
	var recorded int64
	err := r.Scan(&s.Stream, &s.Version, &s.Position.Shard, &s.Position.Index, &s.Position.Place, &recorded, &s.State)
	s.RecordedAt = fromMicros(recorded)
	return s, err
}

// States are the states of those streams that have one.
func (t customersTx) States(ctx context.Context, streams []domain.StreamID) (map[domain.StreamID]projector.CustomerState, error) {
	if t.over {
		return nil, t.afterwards()
	}
	states := make(map[domain.StreamID]projector.CustomerState, len(streams))
	var unknown []domain.StreamID
	for _, stream := range streams {
		if s, ok := t.saved.get(stream); ok {
			states[stream] = s.CustomerState
		} else {
			unknown = append(unknown, stream)
		}
	}
	err := eachIn(ctx, t.tx, "SELECT "+stateColumns+" FROM customers WHERE stream IN (SELECT value FROM json_each(?))", unknown, func(r *sql.Rows) error {
		s, err := scanState(r)
		states[s.Stream] = s
		return err
	})
	return states, err
}

var (
	upsertState = many{
		Head: "INSERT INTO customers (stream, pseudonym, version, shard, entry, place, recorded_at, state) VALUES",
		Tail: `ON CONFLICT (stream) DO UPDATE SET version = excluded.version, shard = excluded.shard, entry = excluded.entry, place = excluded.place,
			recorded_at = excluded.recorded_at, state = excluded.state`,
		Cols: 8,
	}
	upsertDevice = many{
		Head: "INSERT INTO devices (device, stream, pseudonym, type, family, seq) VALUES", Cols: 6,
		Tail: "ON CONFLICT (stream, device) DO UPDATE SET pseudonym = excluded.pseudonym, type = excluded.type, family = excluded.family, seq = excluded.seq",
	}
	upsertLicense = many{
		Head: "INSERT INTO licenses (license, stream, device, title, seq) VALUES", Cols: 5,
		Tail: "ON CONFLICT (stream, license) DO UPDATE SET device = excluded.device, title = excluded.title, seq = excluded.seq",
	}
	upsertException = many{
		Head: "INSERT INTO exceptions (exception, stream, code, seq) VALUES", Cols: 4,
		Tail: "ON CONFLICT (stream, exception) DO UPDATE SET code = excluded.code, seq = excluded.seq",
	}
)

// SaveStates replaces states.
func (t customersTx) SaveStates(ctx context.Context, states []projector.CustomerState) error {
	for i := range states {
		if states[i].FoldVersion != domain.FoldVersion {
			return fmt.Errorf("state of %s has fold version %d, the file holds %d: %w", states[i].Stream, states[i].FoldVersion, domain.FoldVersion, ErrStale)
		}
	}
	if t.over {
		return t.afterwards()
	}
	saved := make([]savedState, len(states))
	for i := range states {
		s := &saved[i]
		s.CustomerState = states[i]
		s.Stream = domain.StreamID(strings.Clone(string(s.Stream))) // lest it keep the page of the log that it was read from
		s.RecordedAt = fromMicros(micros(s.RecordedAt))             // as it would be read
		if before, ok := t.saved.get(s.Stream); ok {
			s.pseudonym = before.pseudonym
		} else {
			s.pseudonym = t.pseudonyms.Customer(s.Stream.ID())
		}
	}
	err := t.write(ctx, upsertState, len(saved), func(i int, args []any) []any {
		s := &saved[i]
		return append(args, s.Stream, s.pseudonym, int64(s.Version), s.Position.Shard, int64(s.Position.Index), s.Position.Place, micros(s.RecordedAt), s.State)
	})
	if err != nil {
		return err
	}
	for i := range saved {
		t.saved.put(saved[i].Stream, saved[i])
	}
	return nil
}

// SaveDevices adds or replaces rows.
func (t customersTx) SaveDevices(ctx context.Context, rows []projector.DeviceRow) error {
	return t.write(ctx, upsertDevice, len(rows), func(i int, args []any) []any {
		r := &rows[i]
		return append(args, r.DeviceID, r.Stream, t.pseudonyms.Device(r.Stream.ID(), r.DeviceID), r.Type, r.Family, int64(r.Seq))
	})
}

// SaveLicenses adds or replaces rows.
func (t customersTx) SaveLicenses(ctx context.Context, rows []projector.LicenseRow) error {
	return t.write(ctx, upsertLicense, len(rows), func(i int, args []any) []any {
		r := &rows[i]
		return append(args, r.LicenseID, r.Stream, r.DeviceID, r.TitleID, int64(r.Seq))
	})
}

// SaveExceptions adds or replaces rows.
func (t customersTx) SaveExceptions(ctx context.Context, rows []projector.ExceptionRow) error {
	return t.write(ctx, upsertException, len(rows), func(i int, args []any) []any {
		r := &rows[i]
		return append(args, r.ExceptionID, r.Stream, r.Code, int64(r.Seq))
	})
}

// StreamVersion is how far the model is with a customer.
func (s *Customers) StreamVersion(ctx context.Context, stream domain.StreamID) (projector.StreamVersion, error) {
	v := projector.StreamVersion{Stream: stream}
	_, err := s.one(ctx, "SELECT version, shard, entry, place FROM customers WHERE stream = ?", []any{stream},
		&v.Version, &v.Position.Shard, &v.Position.Index, &v.Position.Place)
	return v, err
}

// State is a customer's state, and whether there is one.
func (s *Customers) State(ctx context.Context, customer string) (projector.CustomerState, bool, error) {
	return s.stateOf(ctx, domain.CustomerStream(customer))
}

func (s *Customers) stateOf(ctx context.Context, stream domain.StreamID) (state projector.CustomerState, found bool, err error) {
	err = s.each(ctx, "SELECT "+stateColumns+" FROM customers WHERE stream = ?", []any{stream}, func(r *sql.Rows) error {
		found = true
		var err error
		state, err = scanState(r)
		return err
	})
	return state, found, err
}

// StatesAfter returns states in order of stream, after the given one.
func (s *Customers) StatesAfter(ctx context.Context, after domain.StreamID, limit int) ([]projector.CustomerState, error) {
	var states []projector.CustomerState
	err := s.each(ctx, "SELECT "+stateColumns+" FROM customers WHERE stream > ? ORDER BY stream LIMIT ?", []any{after, limit}, func(r *sql.Rows) error {
		state, err := scanState(r)
		states = append(states, state)
		return err
	})
	return states, err
}

// StatesWithTitle returns the states of customers who were ever issued a licence for the title, in order of stream.
func (s *Customers) StatesWithTitle(ctx context.Context, title string, after domain.StreamID, limit int) ([]projector.CustomerState, error) {
	var states []projector.CustomerState
	err := s.each(ctx, `SELECT c.stream, c.version, c.shard, c.entry, c.place, c.recorded_at, c.state
		FROM (SELECT DISTINCT stream FROM licenses WHERE title = ? AND stream > ? ORDER BY stream LIMIT ?) l JOIN customers c ON c.stream = l.stream ORDER BY c.stream`,
		[]any{title, after, limit}, func(r *sql.Rows) error {
			state, err := scanState(r)
			states = append(states, state)
			return err
		})
	return states, err
}

// Things are the customers, devices, licences and exceptions with an id: see query.CustomersModel.
func (s *Customers) Things(ctx context.Context, id string, limit int) ([]query.Thing, error) {
	return s.things(ctx, `
		SELECT 'customer', stream, '', '' FROM customers WHERE stream = ?2
		UNION ALL SELECT * FROM (SELECT 'device', stream, device, '' FROM devices WHERE device = ?1 ORDER BY stream LIMIT ?3) found
		UNION ALL SELECT 'license', stream, device, title FROM licenses WHERE license = ?1
		UNION ALL SELECT 'exception', stream, '', '' FROM exceptions WHERE exception = ?1
		LIMIT ?3`, id, domain.CustomerStream(id), limit)
}

// ThingsBehind are the customers and devices behind a pseudonym.
func (s *Customers) ThingsBehind(ctx context.Context, pseudonym string) ([]query.Thing, error) {
	return s.things(ctx, `
		SELECT 'customer', stream, '', '' FROM customers WHERE pseudonym = ?1
		UNION ALL SELECT 'device', stream, device, '' FROM devices WHERE pseudonym = ?1
		LIMIT 10`, pseudonym)
}

func (s *Customers) things(ctx context.Context, text string, args ...any) ([]query.Thing, error) {
	var things []query.Thing
	err := s.each(ctx, text, args, func(r *sql.Rows) error {
		var t query.Thing
		var stream domain.StreamID
		err := r.Scan(&t.Kind, &stream, &t.DeviceID, &t.TitleID)
		t.Customer = stream.ID()
		things = append(things, t)
		return err
	})
	return things, err
}
