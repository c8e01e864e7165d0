package profile

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carryon/api/cli"
	"carryon/domain"
	"carryon/infra/sqlite"
	"carryon/infra/sqlite/readmodel"
	"carryon/projector"
	"carryon/query"
)

// fillStore makes a store of so many events, unless there is one already.
func fillStore(b *testing.B, dir string, want int64) (events int64) {
	b.Helper()
	s := openFigure(b, dir)
	defer closeFigure(b, s)
	events = countEvents(b, s)
	for round := 0; events < want; round++ { // new customers each time: who acquires on and on is refused in the end
		newCrowd(b, s, fmt.Sprintf("b%d-%d-", time.Now().Unix(), round), 20_000).flatOut(b, figureCallers, 8*time.Second)
		events = countEvents(b, s)
	}
	return events
}

// builds are the read models that are rebuilt, each with its own projection, from the log of a system.
var builds = []struct {
	name  string
	build func(b *testing.B, s *System, dir string, workers int) (events uint64, filling time.Duration)
}{
	{"customers", building(projector.Customers{}, func(ctx context.Context, path string) (*readmodel.Customers, error) {
		return readmodel.OpenCustomers(ctx, path, query.NewPseudonyms([]byte("k")))
	})},
	{"timeline", building(projector.Timeline{}, readmodel.OpenTimeline)},
	{"denials", building(projector.Denials{}, readmodel.OpenDenials)},
	{"analytics", building(projector.Analytics{}, readmodel.OpenAnalytics)},
	{"search", building(projector.Search{}, readmodel.OpenSearch)},
}

// building rebuilds a model in a folder of its own, and answers how long the log took to be applied.
func building[T projector.Tx, P projector.Projection[T], M projector.Store[T]](p P, open func(context.Context, string) (M, error)) func(*testing.B, *System, string, int) (uint64, time.Duration) {
	return func(b *testing.B, s *System, dir string, workers int) (events uint64, filling time.Duration) {
		b.Helper()
		g, err := readmodel.GenerationsOf(dir, p.Name())
		if err != nil {
			b.Fatal(err)
		}
		m := projector.NewModel(projector.ModelConfig{Rebuild: projector.RebuildConfig{Workers: workers}}, projector.ModelPorts[T, M]{
			Projection: p, Generations: g, Open: func(ctx context.Context, n int) (M, error) { return open(ctx, g.Path(n)) },
			Log: s.log, Histories: s.log, Shards: s.layout.shards(), ShardOf: s.layout.shardOf, Clock: s.clock,
		})
		defer m.Close()
		if err := m.Open(b.Context()); err != nil {
			b.Fatal(err)
		}
		var mu sync.Mutex
		runtime.GC() // here and before a scan and a load: none of them pays for what another left
		begin := time.Now()
		err = m.Rebuild(b.Context(), projector.RebuildOptions{Sample: 50}, func(st projector.RebuildStatus) {
			mu.Lock()
			defer mu.Unlock()
			events = max(events, st.EventsDone)
			if filling == 0 && st.State == projector.RebuildAuditing {
				filling = time.Since(begin)
			}
		})
		if err != nil || filling == 0 {
			b.Fatalf("after %s: %v", filling, err)
		}
		return events, filling
	}
}

// loadBulk writes the rows of a finished model into the same tables of an empty file, in the order in which they lie
// there, from memory, and answers how long that took: 16,384 rows a transaction, 64 a statement, with the durability that
// read models have. The tables have their indices from the beginning, or get them when all rows are there.
func loadBulk(b *testing.B, path string, indexesLast bool) (rows int, took time.Duration) {
	b.Helper()
	from, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		b.Fatal(err)
	}
	defer from.Close()
	type table struct {
		name, text string
		rows       [][]any
	}
	var tables []table
	var schema, indexes []string
	// A full-text table brings those along that it keeps its index in.
	list := must(from.Query(`SELECT name, type, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'
		AND NOT EXISTS (SELECT 1 FROM sqlite_master v WHERE v.sql LIKE 'CREATE VIRTUAL TABLE%' AND sqlite_master.name LIKE v.name || '\_%' ESCAPE '\') ORDER BY type DESC`))
	for list.Next() {
		var name, kind, text string
		if err := list.Scan(&name, &kind, &text); err != nil {
			b.Fatal(err)
		}
		if kind == "table" {
			tables = append(tables, table{name: name, text: text})
		}
		if kind == "table" || !indexesLast {
			schema = append(schema, text)
		} else {
			indexes = append(indexes, text)
		}
	}
	if err := errors.Join(list.Err(), list.Close()); err != nil {
		b.Fatal(err)
	}
	from.SetMaxOpenConns(1) // of which one the next table is
	for i := range tables {
		if fullText(tables[i].text) {
			must(from.Exec("CREATE VIRTUAL TABLE temp.instances USING fts5vocab(main, " + tables[i].name + ", instance)"))
		}
		read := must(from.Query(rowsOf(tables[i].name, tables[i].text)))
		columns := must(read.Columns())
		for read.Next() {
			row, into := make([]any, len(columns)), make([]any, len(columns))
			for j := range row {
				into[j] = &row[j]
			}
			if err := read.Scan(into...); err != nil {
				b.Fatal(err)
			}
			tables[i].rows = append(tables[i].rows, row)
		}
		if err := errors.Join(read.Err(), read.Close()); err != nil {
			b.Fatal(err)
		}
	}
	file, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "bulk.db"), sqlite.FileConfig{
		ApplicationID: 0x42756c6b, Version: 1, Durability: sqlite.Normal, CacheBytes: 64 << 20,
		Migrate: func(ctx context.Context, tx *sql.Tx, _ int) error {
			_, err := tx.ExecContext(ctx, strings.Join(schema, ";\n"))
			return err
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	ctx := context.Background() // one that can end makes the driver watch each statement
	runtime.GC()
	begin := time.Now()
	for i := range tables {
		rows += len(tables[i].rows)
		into := tables[i].name
		if fullText(tables[i].text) {
			into += " (rowid, text)"
		}
		loadTable(ctx, b, file, into, tables[i].rows)
	}
	for _, text := range indexes {
		must(file.Writer.ExecContext(ctx, text))
	}
	return rows, time.Since(begin)
}

func fullText(schema string) bool { return strings.HasPrefix(schema, "CREATE VIRTUAL TABLE") }

// rowsOf asks for all rows of a table. A full-text table keeps no texts: its index tells which words a row had.
func rowsOf(name, schema string) string {
	if fullText(schema) {
		return "SELECT doc, group_concat(term, ' ') FROM instances GROUP BY doc"
	}
	return "SELECT * FROM " + name
}

func loadTable(ctx context.Context, b *testing.B, file *sqlite.File, name string, rows [][]any) {
	b.Helper()
	const each, many = 64, 16_384
	for len(rows) > 0 {
		tx := must(file.Writer.BeginTx(ctx, nil))
		one := "(?" + strings.Repeat(", ?", len(rows[0])-1) + ")"
		insert := func(n int) *sql.Stmt {
			return must(tx.PrepareContext(ctx, "INSERT INTO "+name+" VALUES "+one+strings.Repeat(", "+one, n-1)))
		}
		full, single := insert(each), insert(1)
		for left := rows[:min(many, len(rows))]; len(left) > 0; {
			statement, n := single, 1
			if len(left) >= each {
				statement, n = full, each
			}
			var args []any
			for _, row := range left[:n] {
				args = append(args, row...)
			}
			if _, err := statement.ExecContext(ctx, args...); err != nil {
				b.Fatal(err)
			}
			left = left[n:]
		}
		if err := errors.Join(full.Close(), single.Close(), tx.Commit()); err != nil {
			b.Fatal(err)
		}
		rows = rows[min(many, len(rows)):]
	}
}

// rebuildRounds: what is compared is done by turns and so often, because a machine is not as fast at each moment.
const rebuildRounds = 3

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

// BenchmarkFigureRebuild: a rebuild of each read model (FIGURE_REBUILD events, 300,000 by default) with one worker and
// with two, against a bare scan of the log and a bare load of the rows that come of it; and an audit of everything. Of
// rates the median of three is given, and of-the-slower is the ratio of medians; in-the-worst is that of the round in
// which it was least. The load is into tables with their indices; indexes-last compares with the fastest load there is,
// which makes them when all rows are there, as a rebuild does with those that only readers need.
func BenchmarkFigureRebuild(b *testing.B) {
	dir := b.TempDir()
	events := fillStore(b, dir, int64(envInt("FIGURE_REBUILD", 300_000)))
	s := openFigure(b, dir)
	defer closeFigure(b, s)
	scan := func(b *testing.B) float64 {
		b.Helper()
		runtime.GC()
		begin := time.Now()
		countEvents(b, s)
		return float64(events) / time.Since(begin).Seconds()
	}
	for _, m := range builds {
		b.Run(m.name, func(b *testing.B) {
			one, two := make([]float64, rebuildRounds), make([]float64, rebuildRounds)
			scans, ratios := make([]float64, rebuildRounds), make([]float64, rebuildRounds)
			loads, fastest := make([]float64, rebuildRounds), make([]float64, rebuildRounds)
			for round := range rebuildRounds {
				build := func(workers int) (folder string, rate float64) {
					folder = b.TempDir()
					done, took := m.build(b, s, folder, workers)
					return folder, float64(done) / took.Seconds()
				}
				_, one[round] = build(1)
				scans[round] = scan(b)
				var folder string
				folder, two[round] = build(2)
				finished := must(filepath.Glob(filepath.Join(folder, m.name+".*.db")))
				rows, took := loadBulk(b, finished[len(finished)-1], false)
				_, least := loadBulk(b, finished[len(finished)-1], true)
				fastest[round] = float64(events) / least.Seconds()
				loads[round] = float64(events) / took.Seconds() // of the events that the rows come of
				ratios[round] = max(one[round], two[round]) / min(scans[round], loads[round])
				b.ReportMetric(float64(rows), "rows")
			}
			b.ReportMetric(max(median(one), median(two))/min(median(scans), median(loads)), "of-the-slower")
			b.ReportMetric(slices.Min(ratios), "in-the-worst")
			b.ReportMetric(max(median(one), median(two))/min(median(scans), median(fastest)), "of-the-slower-indexes-last")
			b.ReportMetric(median(fastest), "bulk-indexes-last-events/s")
			b.ReportMetric(median(loads), "bulk-events/s")
			b.ReportMetric(median(scans), "scan-events/s")
			b.ReportMetric(median(one), "1-worker-events/s")
			b.ReportMetric(median(two), "2-workers-events/s")
			b.ReportMetric(0, "ns/op")
		})
	}
	b.Run("audit", func(b *testing.B) {
		if err := s.CatchUp(b.Context(), nil); err != nil {
			b.Fatal(err)
		}
		begin := time.Now()
		report, err := s.Audit(b.Context(), cli.AuditOptions{Sample: 5000, Seed: 1, Workers: 4})
		if err != nil || !report.Clean() {
			b.Fatalf("%v: %v", report.Differences, err)
		}
		took := time.Since(begin).Seconds()
		b.ReportMetric(float64(report.Histories)/took, "streams/s")
		b.ReportMetric(float64(report.Recomputed)/took, "rows-of-streams/s")
		b.ReportMetric(0, "ns/op")
	})
}

// BenchmarkFigureServing: what commands notice of a rebuild: their p99 before, and while one model after the other is
// rebuilt beside them, at half of what the process sustains.
func BenchmarkFigureServing(b *testing.B) {
	dir := b.TempDir()
	fillStore(b, dir, 100_000)
	s := openFigure(b, dir)
	defer closeFigure(b, s)
	stop := startProjectors(b, s)
	defer stop()
	c := newCrowd(b, s, fmt.Sprintf("s%d-", time.Now().Unix()), 20_000)
	commands, _, _ := c.flatOut(b, figureCallers, figureSeconds())
	rate := commands / 2
	awaitHeads(b, s)
	c = newCrowd(b, s, fmt.Sprintf("t%d-", time.Now().Unix()), 30_000)
	awaitHeads(b, s)
	before := c.paced(b, rate, figureSeconds(), nil)
	awaitHeads(b, s)
	ctx, cancel := context.WithCancel(b.Context())
	rebuilt, ended := 0, make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			for _, name := range []string{"timeline", "analytics", "search", "customers"} {
				if s.Rebuild(ctx, name, projector.RebuildOptions{Sample: 50}, nil) == nil {
					rebuilt++
				}
			}
		}
	}()
	during := c.paced(b, rate, 2*figureSeconds(), nil)
	cancel()
	<-ended
	if c.failed.Load() > 0 {
		b.Fatalf("%d commands failed, the first with: %v", c.failed.Load(), *c.why.Load())
	}
	b.ReportMetric(rate, "commands/s")
	b.ReportMetric(float64(rebuilt), "rebuilt")
	b.ReportMetric(ms(before.Quantile(0.5)), "before-p50-ms")
	b.ReportMetric(ms(before.Quantile(0.99)), "before-p99-ms")
	b.ReportMetric(ms(during.Quantile(0.5)), "during-p50-ms")
	b.ReportMetric(ms(during.Quantile(0.99)), "during-p99-ms")
	b.ReportMetric(0, "ns/op")
}

func awaitHeads(b *testing.B, s *System) {
	b.Helper()
	heads, err := s.Heads(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !reached(s.models.runners.Status(), heads) {
		<-ticker.C
	}
}

// BenchmarkFigureRecovery: the program is killed with -9 under load and started again: how long it is until it is ready,
// and until every read model shows everything that was recorded.
func BenchmarkFigureRecovery(b *testing.B) {
	dir := b.TempDir()
	program := filepath.Join(dir, "carryon")
	if said, err := exec.Command("go", "build", "-o", program, "carryon").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, said)
	}
	data := filepath.Join(dir, "data")
	fillStore(b, data, 50_000)
	s := openFigure(b, data)
	if err := s.CatchUp(b.Context(), nil); err != nil {
		b.Fatal(err)
	}
	closeFigure(b, s)
	token := strings.TrimSpace(string(must(exec.Command(program, "token", "--data", data, "--role", "operator").Output())))
	var ready, visible []time.Duration
	for round := range 5 {
		server, url := serveProgram(b, program, data)
		load := exec.Command(program, "simulate", "--url", url, "--data", data, "--seed", fmt.Sprint(round), "--prefix", fmt.Sprintf("r%d-", round),
			"--households", "40", "--callers", "16", "--duration", "20s", "--patience", "0", "--stop-when-gone", "--no-check")
		if err := load.Start(); err != nil {
			b.Fatal(err)
		}
		<-time.After(4 * time.Second)
		_ = server.Process.Kill()
		_ = server.Wait()
		_ = load.Wait()
		s, err := OpenEmbedded(b.Context(), must(loadConfig(data)), cli.OpenOptions{OnlyReads: true})
		if err != nil {
			b.Fatal(err)
		}
		heads := must(s.Heads(b.Context()))
		closeFigure(b, s)
		begin := time.Now()
		server, url = serveProgram(b, program, data)
		ready = append(ready, time.Since(begin))
		for !shown(b, url, token, heads) {
			<-time.After(5 * time.Millisecond)
		}
		visible = append(visible, time.Since(begin))
		_ = server.Process.Kill()
		_ = server.Wait()
	}
	worst := func(all []time.Duration) (mean, most time.Duration) {
		for _, d := range all {
			mean, most = mean+d/time.Duration(len(all)), max(most, d)
		}
		return mean, most
	}
	for what, all := range map[string][]time.Duration{"ready": ready, "visible": visible} {
		mean, most := worst(all)
		b.ReportMetric(ms(mean), what+"-mean-ms")
		b.ReportMetric(ms(most), what+"-max-ms")
	}
	b.ReportMetric(0, "ns/op")
}

var printedURL = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)

// serveProgram starts the program and waits for its URL.
func serveProgram(b *testing.B, program, data string) (*exec.Cmd, string) {
	b.Helper()
	server := exec.Command(program, "serve", "--data", data, "--listen", "127.0.0.1:0", "--log-level", "error")
	server.Stderr = os.Stderr
	out, err := server.StdoutPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Process.Kill() })
	var said bytes.Buffer
	for piece := make([]byte, 512); ; {
		n, err := out.Read(piece)
		said.Write(piece[:n])
		if url := printedURL.FindString(said.String()); url != "" {
			return server, url
		}
		if err != nil {
			b.Fatalf("it does not serve: %v: %s", err, said.String())
		}
	}
}

// shown tells whether every read model has reached what was recorded.
func shown(b *testing.B, url, token string, heads map[int]domain.Head) bool {
	b.Helper()
	request := must(http.NewRequestWithContext(b.Context(), http.MethodGet, url+"/v1/projections", http.NoBody))
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close()
	var all struct{ Projections []query.Projection }
	if err := json.NewDecoder(answer.Body).Decode(&all); err != nil || answer.StatusCode != http.StatusOK || len(all.Projections) == 0 {
		b.Fatalf("%s: %v", answer.Status, err)
	}
	for _, p := range all.Projections {
		for _, shard := range p.Shards {
			if shard.Applied < heads[shard.Shard].Index {
				return false
			}
		}
	}
	return true
}
