package cassandra

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gocql/gocql"

	"carryon/command"
	"carryon/domain"
)

// The schema is made by numbered files of CQL, each once, in order. Two processes that change a schema at the same time
// can leave a cluster with two versions of a table, so only the holder of a lease does. The lease is a row, taken by a
// conditional write, that forgets itself if its holder dies. The table that it is in has a fixed id, so that it is the
// same table whoever makes it first. A statement may run twice, after a crash: each says IF NOT EXISTS.

//go:embed schema/*.cql
var schema embed.FS

type migration struct {
	version    int
	name       string
	checksum   string
	statements []string
}

// migrations are those that this program knows, in order.
func migrations() ([]migration, error) {
	names, err := fs.Glob(schema, "schema/*.cql")
	if err != nil {
		return nil, err
	}
	var all []migration
	for _, name := range names {
		text, err := schema.ReadFile(name)
		if err != nil {
			return nil, err
		}
		m, err := parseMigration(path.Base(name), string(text))
		if err == nil && m.version != len(all)+1 {
			err = fmt.Errorf("migration %d is missing", len(all)+1)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, m)
	}
	return all, nil
}

func parseMigration(name, text string) (migration, error) {
	number, _, _ := strings.Cut(name, "_")
	version, err := strconv.Atoi(number)
	if err != nil {
		return migration{}, fmt.Errorf("the name does not begin with a number: %w", err)
	}
	sum := sha256.Sum256([]byte(text))
	m := migration{version: version, name: strings.TrimSuffix(name, ".cql"), checksum: hex.EncodeToString(sum[:])}
	var lines []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "--") {
			lines = append(lines, line)
		}
	}
	for statement := range strings.SplitSeq(strings.Join(lines, ""), ";") {
		if statement = strings.TrimSpace(statement); statement != "" {
			m.statements = append(m.statements, statement)
		}
	}
	return m, nil
}

// migrate makes the keyspace and brings its tables up to date, or waits for whoever does.
func migrate(ctx context.Context, cfg *Config) error {
	all, err := migrations()
	if err != nil {
		return err
	}
	session, err := cfg.connect(ctx, cfg.Hosts, "")
	if err != nil {
		return err
	}
	defer session.Close()
	m := migrator{cfg: cfg, session: session, holder: rand.Text()}
	if err := m.prepare(ctx); err != nil {
		return err
	}
	for {
		missing, err := m.missing(ctx, all)
		if err != nil || len(missing) == 0 {
			return err
		}
		held, err := m.take(ctx)
		if err != nil {
			return err
		}
		if held {
			return m.run(ctx, all)
		}
		if err := wait(ctx, pollLease/2+mathrand.N(pollLease)); err != nil {
			return fmt.Errorf("waiting for another process to change the schema: %w", err)
		}
	}
}

type migrator struct {
	cfg     *Config
	session *gocql.Session
	holder  string
}

const (
	// leaseTime is longer than any one migration takes; the lease is renewed before each.
	leaseTime = 2 * time.Minute
	pollLease = 400 * time.Millisecond
)

func (m *migrator) table() string { return m.cfg.Keyspace + ".migrations" }

func (m *migrator) query(text string, values ...any) *gocql.Query {
	return m.session.Query(text, values...).Consistency(m.cfg.quorum()).SerialConsistency(m.cfg.serial())
}

// prepare makes the keyspace and the table that holds the lease. Where they are there it changes nothing, so that a
// process whose user may not change schemas can open a store that is up to date.
func (m *migrator) prepare(ctx context.Context) error {
	there, err := m.exists(ctx)
	if err != nil || there {
		return err
	}
	replication, err := m.replication(ctx)
	if err != nil {
		return err
	}
	statements := []string{
		fmt.Sprintf(`CREATE KEYSPACE IF NOT EXISTS %s WITH replication = %s AND durable_writes = true`, m.cfg.Keyspace, replication),
		fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s (version int PRIMARY KEY, name text, checksum text, applied_at timestamp, holder text) WITH id = %s`,
			m.table(), tableID(m.table())),
	}
	for _, statement := range statements {
		if err := m.change(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func (m *migrator) exists(ctx context.Context) (bool, error) {
	var name string
	err := m.session.Query(`SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = 'migrations'`, m.cfg.Keyspace).
		Consistency(gocql.One).WithContext(ctx).Scan(&name)
	if errors.Is(err, gocql.ErrNotFound) {
		return false, nil
	}
	return err == nil, failed(ctx, err)
}

// replication is as many replicas as configured in each data centre that there is.
func (m *migrator) replication(ctx context.Context) (string, error) {
	nodes, err := m.cfg.nodes(ctx, m.session)
	if err != nil {
		return "", err
	}
	var centres []string
	for _, n := range nodes {
		if !slices.Contains(centres, n.datacenter) {
			centres = append(centres, n.datacenter)
		}
	}
	slices.Sort(centres)
	text := "{'class': 'NetworkTopologyStrategy'"
	for _, centre := range centres {
		text += fmt.Sprintf(", '%s': %d", strings.ReplaceAll(centre, "'", "''"), m.cfg.Replication)
	}
	return text + "}", nil
}

// tableID is made of the table's name, in the form of a random UUID.
func tableID(name string) gocql.UUID {
	sum := sha256.Sum256([]byte("carryon/" + name))
	id := gocql.UUID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}

// change changes the schema, and waits until all nodes know.
func (m *migrator) change(ctx context.Context, statement string) error {
	first, _, _ := strings.Cut(statement, "(")
	err := m.session.Query(statement).WithContext(ctx).Exec()
	if err == nil {
		err = m.session.AwaitSchemaAgreement(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", strings.TrimSpace(first), failed(ctx, err))
	}
	return nil
}

// missing are the migrations that were not applied yet.
func (m *migrator) missing(ctx context.Context, all []migration) (missing []migration, err error) {
	applied := make(map[int]string)
	rows := m.query(fmt.Sprintf(`SELECT version, checksum FROM %s`, m.table())).WithContext(ctx).Iter()
	var version int
	var checksum string
	for rows.Scan(&version, &checksum) {
		applied[version] = checksum
	}
	if err := rows.Close(); err != nil {
		return nil, fmt.Errorf("reading which migrations were applied: %w", failed(ctx, err))
	}
	for version := range applied {
		if version > len(all) {
			return nil, fmt.Errorf("its schema has migration %d, this program knows %d: %w", version, len(all), domain.ErrFutureVersion)
		}
	}
	for _, migration := range all {
		switch checksum, there := applied[migration.version]; {
		case !there:
			missing = append(missing, migration)
		case checksum != migration.checksum:
			return nil, fmt.Errorf("migration %s was applied as another text than this program has: %w", migration.name, ErrLayout)
		}
	}
	return missing, nil
}

const lease = 0 // the version of the row that is the lease

// take takes the lease, unless another process has it.
func (m *migrator) take(ctx context.Context) (bool, error) {
	held, err := m.query(fmt.Sprintf(`INSERT INTO %s (version, holder) VALUES (?, ?) IF NOT EXISTS USING TTL ?`, m.table()), lease, m.holder, int(leaseTime.Seconds())).
		WithContext(ctx).MapScanCAS(make(map[string]any))
	if err != nil {
		return false, fmt.Errorf("taking the lease on the schema: %w", failed(ctx, err))
	}
	return held, nil
}

func (m *migrator) renew(ctx context.Context) error {
	held, err := m.query(fmt.Sprintf(`UPDATE %s USING TTL ? SET holder = ? WHERE version = ? IF holder = ?`, m.table()), int(leaseTime.Seconds()), m.holder, lease, m.holder).
		WithContext(ctx).MapScanCAS(make(map[string]any))
	if err == nil && !held {
		err = fmt.Errorf("it was lost: %w", command.ErrUnavailable)
	}
	if err != nil {
		return fmt.Errorf("renewing the lease on the schema: %w", failed(ctx, err))
	}
	return nil
}

// run applies what is missing, under the lease, and gives it back.
func (m *migrator) run(ctx context.Context, all []migration) (err error) {
	defer func() {
		// If it can't be given back it ends by itself.
		giving, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.cfg.Timeout)
		defer cancel()
		_, _ = m.query(fmt.Sprintf(`DELETE FROM %s WHERE version = ? IF holder = ?`, m.table()), lease, m.holder).WithContext(giving).MapScanCAS(make(map[string]any))
	}()
	missing, err := m.missing(ctx, all)
	if err != nil {
		return err
	}
	for _, migration := range missing {
		if err := m.apply(ctx, migration); err != nil {
			return fmt.Errorf("migration %s: %w", migration.name, err)
		}
	}
	return nil
}

func (m *migrator) apply(ctx context.Context, migration migration) error {
	for _, statement := range migration.statements {
		if err := m.renew(ctx); err != nil {
			return err
		}
		if err := m.change(ctx, inKeyspace(statement, m.cfg.Keyspace)); err != nil {
			return err
		}
	}
	q := m.query(fmt.Sprintf(`INSERT INTO %s (version, name, checksum, applied_at) VALUES (?, ?, ?, ?) IF NOT EXISTS`, m.table()),
		migration.version, migration.name, migration.checksum, time.Now())
	if _, err := q.WithContext(ctx).MapScanCAS(make(map[string]any)); err != nil {
		return fmt.Errorf("noting that it was applied: %w", failed(ctx, err))
	}
	m.cfg.Logger.Info("schema changed", "keyspace", m.cfg.Keyspace, "migration", migration.name)
	return nil
}

// inKeyspace puts the keyspace before the name of the table that a statement makes or changes.
func inKeyspace(statement, keyspace string) string {
	for _, verb := range []string{"CREATE TABLE IF NOT EXISTS ", "ALTER TABLE "} {
		if rest, ok := strings.CutPrefix(statement, verb); ok {
			return verb + keyspace + "." + rest
		}
	}
	return statement
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", command.ErrUnavailable, context.Cause(ctx))
	}
}
