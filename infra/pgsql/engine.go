package pgsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"carryon/infra/sqlite/readmodel"
	"carryon/projector"
	"carryon/query"
)

// Engine is one generation of one read model: a schema with its tables, made when it is first needed.
type Engine struct {
	server *Server
	schema readmodel.Schema
	name   string // of the schema
	db     *sql.DB
	seen   func(ctx context.Context, conn *sql.Conn) error // looks at the tables when they are first used; may be nil

	mu     sync.Mutex
	made   bool
	shards map[int]bool // whose checkpoint row is there

	closing sync.Once
	closed  error
}

var _ readmodel.Engine = (*Engine)(nil)

// Engine is a generation of a model. Another version of the model's tables is another schema, so that programs of two
// versions do not disturb each other.
func (s *Server) Engine(schema readmodel.Schema, generation int) (*Engine, error) {
	e := &Engine{server: s, schema: schema, name: fmt.Sprintf("%s_v%d_g%d", schema.Model, schema.Version, generation), shards: map[int]bool{}}
	var err error
	if e.db, err = s.connect(e.name, s.cfg.Conns); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engines = append(s.engines, e)
	return e, nil
}

// Customers are the customers' states in a generation.
func (s *Server) Customers(generation int, pseudonyms query.Pseudonyms) (*readmodel.Customers, error) {
	e, err := s.engineOf("customers", generation)
	if err != nil {
		return nil, err
	}
	e.seen = func(ctx context.Context, conn *sql.Conn) error {
		sample := readmodel.PseudonymSample(pseudonyms)
		var stored string
		err := conn.QueryRowContext(ctx, "SELECT sample FROM pseudonyms").Scan(&stored)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			_, err = conn.ExecContext(ctx, "INSERT INTO pseudonyms (sample) VALUES ($1)", sample)
			return err
		case err != nil:
			return err
		case stored != sample:
			return oursError{fmt.Errorf("its pseudonyms were made with another key: %w", readmodel.ErrStale)}
		}
		return nil
	}
	return readmodel.CustomersOver(e, pseudonyms), nil
}

// Timeline is the timeline in a generation.
func (s *Server) Timeline(generation int) (*readmodel.Timeline, error) {
	e, err := s.engineOf("timeline", generation)
	if err != nil {
		return nil, err
	}
	return readmodel.TimelineOver(e), nil
}

// Denials are the refusals in a generation.
func (s *Server) Denials(generation int) (*readmodel.Denials, error) {
	e, err := s.engineOf("denials", generation)
	if err != nil {
		return nil, err
	}
	return readmodel.DenialsOver(e), nil
}

// Analytics are counts, facts and lives in a generation.
func (s *Server) Analytics(generation int) (*readmodel.Analytics, error) {
	e, err := s.engineOf("analytics", generation)
	if err != nil {
		return nil, err
	}
	return readmodel.AnalyticsOver(e), nil
}

// Reference is what was decided for everyone in a generation.
func (s *Server) Reference(generation int) (*readmodel.Reference, error) {
	e, err := s.engineOf("reference", generation)
	if err != nil {
		return nil, err
	}
	return readmodel.ReferenceOver(e), nil
}

func (s *Server) engineOf(model string, generation int) (*Engine, error) {
	schema, err := readmodel.SchemaOf(model)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return s.Engine(schema, generation)
}

// Drop removes a generation with everything in it.
func (e *Engine) Drop(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.made = false
	_, err := e.db.ExecContext(ctx, "DROP SCHEMA IF EXISTS "+e.name+" CASCADE")
	return failure(err)
}

// Close closes the connections.
func (e *Engine) Close() error {
	e.closing.Do(func() { e.closed = e.db.Close() })
	return e.closed
}

// make makes schema and tables where they are not there.
func (e *Engine) make(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.made {
		return nil
	}
	err := e.server.alone(ctx, e.db, e.name, func(conn *sql.Conn) error {
		var there bool
		if err := conn.QueryRowContext(ctx, "SELECT to_regclass($1) IS NOT NULL", e.name+".checkpoint").Scan(&there); err != nil {
			return err
		}
		if !there {
			text := "BEGIN; CREATE SCHEMA IF NOT EXISTS " + e.name + "; " + inPostgres(readmodel.CommonTables+e.schema.Tables, true) + "; COMMIT"
			if _, err := conn.ExecContext(ctx, text); err != nil {
				_, _ = conn.ExecContext(ctx, "ROLLBACK")
				return err
			}
		}
		if e.seen == nil {
			return nil
		}
		return e.seen(ctx, conn)
	})
	if err != nil {
		return failure(fmt.Errorf("making schema %s: %w", e.name, err))
	}
	e.made = true
	return nil
}

// Each runs a query on what is committed.
func (e *Engine) Each(ctx context.Context, text string, args []any, scan func(*sql.Rows) error) error {
	if err := e.make(ctx); err != nil {
		return err
	}
	rows, err := e.db.QueryContext(ctx, inPostgres(text, false), plain(args)...)
	return handEach(rows, err, scan)
}

func handEach(rows *sql.Rows, err error, scan func(*sql.Rows) error) (_ error) {
	if err != nil {
		return failure(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return oursError{err}
		}
	}
	return failure(rows.Err())
}

// Begin opens a transaction that holds the shard's checkpoint.
func (e *Engine) Begin(ctx context.Context, shard int) (_ readmodel.EngineTx, err error) {
	if err := e.make(ctx); err != nil {
		return nil, err
	}
	if err := e.checkpointRow(ctx, shard); err != nil {
		return nil, err
	}
	begun, err := e.db.BeginTx(context.WithoutCancel(ctx), nil) // its end is ours to say, not the driver's
	if err != nil {
		return nil, failure(err)
	}
	defer func() {
		if err != nil {
			_ = begun.Rollback()
		}
	}()
	var held int
	switch err := begun.QueryRowContext(ctx, "SELECT 1 FROM checkpoint WHERE shard = $1 FOR UPDATE SKIP LOCKED", shard).Scan(&held); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, projector.ErrElsewhere
	case err != nil:
		return nil, failure(err)
	}
	if e.schema.Model == "analytics" {
		// Shards share roll-ups: one after the other, or two of them wait for each other's rows.
		if _, err := begun.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", lockNumber(e.name+"/rollups")); err != nil {
			return nil, failure(err)
		}
	}
	return &transaction{begun}, nil
}

// checkpointRow sees to it that there is a row to hold.
func (e *Engine) checkpointRow(ctx context.Context, shard int) error {
	e.mu.Lock()
	there := e.shards[shard]
	e.mu.Unlock()
	if there {
		return nil
	}
	if _, err := e.db.ExecContext(ctx, "INSERT INTO checkpoint (shard, entry, id) VALUES ($1, 0, '') ON CONFLICT DO NOTHING", shard); err != nil {
		return failure(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.shards[shard] = true
	return nil
}

// transaction is one of a model.
type transaction struct{ tx *sql.Tx }

// Each runs a query.
func (t *transaction) Each(ctx context.Context, text string, args []any, scan func(*sql.Rows) error) error {
	rows, err := t.tx.QueryContext(ctx, inPostgres(text, false), plain(args)...)
	return handEach(rows, err, scan)
}

// Exec runs a statement.
func (t *transaction) Exec(ctx context.Context, text string, args ...any) error {
	_, err := t.tx.ExecContext(ctx, inPostgres(text, false), plain(args)...)
	return failure(err)
}

// Commit makes everything durable. When its answer is lost, the next transaction finds out what became of it.
func (t *transaction) Commit(context.Context) error {
	err := t.tx.Commit()
	if errors.Is(err, sql.ErrTxDone) {
		return oursError{err}
	}
	return failure(err)
}

// Rollback gives everything up.
func (t *transaction) Rollback() { _ = t.tx.Rollback() } // a lost connection has rolled it back

// rowsAtOnce is how many rows one statement writes.
const rowsAtOnce = 5000

// Write writes rows with an array for each column: one statement for thousands of rows, prepared once.
func (t *transaction) Write(ctx context.Context, m readmodel.Many, n int, bind func(i int, args []any) []any) error {
	head, values := strings.CutSuffix(strings.TrimSpace(m.Head), "VALUES")
	if !values {
		return oursError{fmt.Errorf("%q does not end with VALUES", m.Head)}
	}
	for from := 0; from < n; from += rowsAtOnce {
		rows := make([][]any, 0, min(rowsAtOnce, n-from))
		for i := from; i < min(n, from+rowsAtOnce); i++ {
			rows = append(rows, bind(i, make([]any, 0, m.Cols)))
		}
		rows = newestOf(rows, m.Key)
		types, arrays, err := columns(rows, m.Cols)
		if err != nil {
			return oursError{fmt.Errorf("%s: %w", m.Head, err)}
		}
		if _, err := t.tx.ExecContext(ctx, head+"SELECT * FROM unnest("+types+") "+inPostgres(m.Tail, false), arrays...); err != nil {
			return failure(err)
		}
	}
	return nil
}

// newestOf keeps the last of the rows with the same first columns: one statement can't change a row twice.
func newestOf(rows [][]any, key int) [][]any {
	if key == 0 || len(rows) < 2 {
		return rows
	}
	last := make(map[string]int, len(rows))
	for i, row := range rows {
		last[fmt.Sprint(row[:key]...)+"\x00"+fmt.Sprint(len(fmt.Sprint(row[0])))] = i
	}
	if len(last) == len(rows) {
		return rows
	}
	kept := rows[:0]
	for i, row := range rows {
		if last[fmt.Sprint(row[:key]...)+"\x00"+fmt.Sprint(len(fmt.Sprint(row[0])))] == i {
			kept = append(kept, row)
		}
	}
	return kept
}

// columns turns rows into an array for each column, with its type.
func columns(rows [][]any, n int) (string, []any, error) {
	types := make([]string, n)
	arrays := make([]any, n)
	for c := range n {
		kind := "bigint[]" // where there is nothing but NULL, any will do
		var texts []*string
		var numbers []*int64
		var bytes [][]byte
		for _, row := range rows {
			switch v := reflect.ValueOf(row[c]); {
			case row[c] == nil:
			case v.Kind() == reflect.String:
				kind = "text[]"
			case v.CanInt(), v.CanUint():
				kind = "bigint[]"
			case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
				kind = "bytea[]"
			default:
				return "", nil, fmt.Errorf("column %d holds %T, which can't be written", c+1, row[c])
			}
			if row[c] != nil {
				break
			}
		}
		for _, row := range rows {
			v := reflect.ValueOf(row[c])
			switch kind {
			case "text[]":
				var text *string
				if row[c] != nil {
					s := v.String()
					text = &s
				}
				texts = append(texts, text)
			case "bytea[]":
				var b []byte
				if row[c] != nil {
					b = v.Bytes()
				}
				bytes = append(bytes, b)
			default:
				var number *int64
				if row[c] != nil {
					var i int64
					if v.CanInt() {
						i = v.Int()
					} else {
						i = int64(v.Uint()) //nolint:gosec // versions and indices are far from overflowing
					}
					number = &i
				}
				numbers = append(numbers, number)
			}
		}
		types[c] = "$" + strconv.Itoa(c+1) + "::" + kind
		switch kind {
		case "text[]":
			arrays[c] = texts
		case "bytea[]":
			arrays[c] = bytes
		default:
			arrays[c] = numbers
		}
	}
	return strings.Join(types, ", "), arrays, nil
}

// plain are arguments without names of their own.
func plain(args []any) []any {
	out := make([]any, len(args))
	for i, a := range args {
		out[i] = a
		if v := reflect.ValueOf(a); a != nil && v.Kind() == reflect.String {
			out[i] = v.String()
		}
	}
	return out
}

var (
	words = strings.NewReplacer("CROSS JOIN", "JOIN", "json_each(?)", "json_array_elements_text(CAST(? AS json)) AS j (value)")
	types = []struct {
		from *regexp.Regexp
		to   string
	}{
		{regexp.MustCompile(`\bINTEGER PRIMARY KEY\b`), "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"},
		{regexp.MustCompile(`\bINTEGER\b`), "BIGINT"},
		{regexp.MustCompile(`\bBLOB\b`), "BYTEA"},
		{regexp.MustCompile(`\bTEXT\b`), `TEXT COLLATE "C"`}, // the order of bytes, as everywhere else
		{regexp.MustCompile(`\)\s*WITHOUT ROWID`), ")"},
	}
)

// inPostgres says in PostgreSQL's words what the models say in both.
func inPostgres(text string, tables bool) string {
	if tables {
		for _, t := range types {
			text = t.from.ReplaceAllString(text, t.to)
		}
		return text
	}
	text = words.Replace(text)
	if !strings.Contains(text, "?") {
		return text
	}
	var b strings.Builder
	b.Grow(len(text) + 32)
	n := 0
	for i := 0; i < len(text); i++ {
		if text[i] != '?' {
			b.WriteByte(text[i])
			continue
		}
		b.WriteByte('$')
		if i+1 < len(text) && text[i+1] >= '1' && text[i+1] <= '9' { // it has a number already
			continue
		}
		n++
		b.WriteString(strconv.Itoa(n))
	}
	return b.String()
}
