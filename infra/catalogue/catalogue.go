// Package catalogue keeps what may be licensed: the titles that come with the program, or an imported file.
package catalogue

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"carryon/command"
	"carryon/domain"
)

//go:embed titles.csv.gz
var embedded []byte

// Catalogue is one version of the titles. It never changes.
type Catalogue struct {
	version  string
	rows     []row // in the order of the file
	byID     map[string]int
	weights  []float64 // running sums, for drawing
	words    []indexed // for searching
	once     sync.Once
	movies   int
	series   int
	episodes int
}

var _ command.Catalogue = (*Catalogue)(nil)

// row is a line of the file, with what was derived. Episodes are made when they are asked for: there are tens of
// thousands, and most are never met.
type row struct {
	title   domain.Title
	work    string
	seasons []int
}

// MaxImportBytes is the largest file that can be imported.
const MaxImportBytes = 256 << 20

// Embedded is the catalogue that comes with the program.
func Embedded() (*Catalogue, error) {
	r, err := gzip.NewReader(bytes.NewReader(embedded))
	if err != nil {
		return nil, fmt.Errorf("the embedded catalogue: %w", err)
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("the embedded catalogue: %w", err)
	}
	c, bad, err := Read(raw)
	if err != nil {
		return nil, fmt.Errorf("the embedded catalogue: %w", err)
	}
	if len(bad) > 0 {
		return nil, fmt.Errorf("the embedded catalogue: line %d: %s", bad[0].Line, bad[0].Reason)
	}
	return c, nil
}

// BadRow is a row that was left out.
type BadRow struct {
	Line   int
	Reason string
}

var columns = []string{
	"title_id", "title", "kind", "release_date", "duration", "rating", "genres", "country", "language", "available_globally", "original",
	"hours_viewed", "views",
}

// Read reads a file and reports each bad row by line and reason. It fails when there is no good row.
func Read(raw []byte) (*Catalogue, []BadRow, error) {
	r := csv.NewReader(bytes.NewReader(raw))
	r.FieldsPerRecord = -1
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		return nil, nil, fmt.Errorf("reading the header: %w", err)
	}
	at, err := places(header)
	if err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256(raw)
	c := &Catalogue{version: hex.EncodeToString(sum[:6]), byID: map[string]int{}}
	var bad []BadRow
	width := len(header)
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		line, _ := r.FieldPos(0)
		var parse *csv.ParseError
		if errors.As(err, &parse) {
			bad = append(bad, BadRow{parse.Line, parse.Err.Error()})
			continue
		} else if err != nil {
			return nil, bad, err
		}
		if len(record) != width {
			bad = append(bad, BadRow{line, fmt.Sprintf("has %d columns, the header has %d", len(record), width)})
			continue
		}
		field := func(name string) string {
			if i, ok := at[name]; ok {
				return strings.TrimSpace(record[i])
			}
			return ""
		}
		made, err := makeRow(field)
		if err == nil {
			if _, twice := c.byID[made.title.ID]; twice {
				err = fmt.Errorf("title_id %s stands twice", made.title.ID)
			}
		}
		if err != nil {
			bad = append(bad, BadRow{line, err.Error()})
			continue
		}
		c.add(made)
	}
	if len(c.rows) == 0 {
		return nil, bad, errors.New("there is no good row; nothing was imported")
	}
	return c, bad, nil
}

func places(header []string) (map[string]int, error) {
	at := make(map[string]int, len(header))
	for i, name := range header {
		at[strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))] = i
	}
	var missing []string
	for _, must := range []string{"title_id", "title", "kind"} {
		if _, ok := at[must]; !ok {
			missing = append(missing, must)
		}
	}
	var unknown []string
	for name := range at {
		if !slices.Contains(columns, name) && name != "studio" {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	if len(missing) > 0 || len(unknown) > 0 {
		return nil, fmt.Errorf("the header lacks %q and has unknown columns %q; known are %s and studio", missing, unknown, strings.Join(columns, ", "))
	}
	return at, nil
}

// makeRow checks a line and derives what it does not say.
func makeRow(field func(string) string) (row, error) {
	var errs []error
	id, name, kind := field("title_id"), field("title"), field("kind")
	if err := domain.CheckID("title_id", id); err != nil {
		errs = append(errs, err)
	}
	if episodeID.MatchString(id) {
		errs = append(errs, fmt.Errorf("title_id %s looks like the id of an episode, which is derived", id))
	}
	switch {
	case name == "":
		errs = append(errs, errors.New("title is empty"))
	case !utf8.ValidString(name):
		errs = append(errs, errors.New("title is not valid UTF-8"))
	case utf8.RuneCountInString(name) > 500:
		errs = append(errs, errors.New("title is longer than 500 characters"))
	}
	if kind != domain.KindMovie && kind != domain.KindSeries {
		errs = append(errs, fmt.Errorf("kind is %q; wanted movie or series", kind))
	}
	var views int64
	if text := field("views"); text != "" {
		var err error
		if views, err = strconv.ParseInt(text, 10, 64); err != nil || views < 0 {
			errs = append(errs, fmt.Errorf("views is %q; wanted a whole number, 0 or more", text))
		}
	}
	for _, flag := range []string{"available_globally", "original"} {
		if v := field(flag); v != "" && v != "true" && v != "false" {
			errs = append(errs, fmt.Errorf("%s is %q; wanted true, false or nothing", flag, v))
		}
	}
	studio := field("studio")
	if studio != "" {
		if err := domain.CheckID("studio", studio); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return row{}, errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	name = repair(name)
	w, named := work(name)
	r := row{work: w, title: domain.Title{
		ID: id, Kind: kind, Name: name, Studio: cmp.Or(studio, studioOf(w, field("original") == "true")), Rating: field("rating"),
		Maturity: maturityOf(field("rating")), Released: field("release_date"), Windows: windowsOf(id, field("country"), field("available_globally")),
		RegionRule: regionRuleOf(id), Downloadable: draw("downloadable", id, 40) != 0, Views: views, Weight: weightOf(id, views),
	}}
	if genres := field("genres"); genres != "" {
		r.title.Genres = strings.Split(genres, "|")
	}
	if kind == domain.KindSeries {
		r.title.Series, r.seasons = w, seasonsOf(named, field("duration"))
	}
	return r, nil
}

func (c *Catalogue) add(r row) {
	c.byID[r.title.ID] = len(c.rows)
	c.rows = append(c.rows, r)
	last := 0.0
	if len(c.weights) > 0 {
		last = c.weights[len(c.weights)-1]
	}
	c.weights = append(c.weights, last+r.title.Weight)
	if r.title.Kind == domain.KindMovie {
		c.movies++
		return
	}
	c.series++
	for _, s := range r.seasons {
		c.episodes += episodesOf(r.title.ID, s)
	}
}

// Version is a hash of the file.
func (c *Catalogue) Version() string { return c.version }

// Counts tells how many movies, series and episodes there are.
func (c *Catalogue) Counts() (movies, series, episodes int) { return c.movies, c.series, c.episodes }

// Title finds a movie, series or episode.
func (c *Catalogue) Title(id string) (domain.Title, bool) {
	if i, ok := c.byID[id]; ok {
		return c.rows[i].title, true
	}
	i := strings.LastIndex(id, "-s") // cheaper than the expression, for what is no episode at all
	if i < 0 {
		return domain.Title{}, false
	}
	m := episodeID.FindStringSubmatch(id)
	if m == nil {
		return domain.Title{}, false
	}
	at, ok := c.byID[m[1]]
	if !ok || c.rows[at].title.Kind != domain.KindSeries {
		return domain.Title{}, false
	}
	s, _ := strconv.Atoi(m[2]) // two digits
	e, _ := strconv.Atoi(m[3])
	if !slices.Contains(c.rows[at].seasons, s) || e < 1 || e > episodesOf(m[1], s) {
		return domain.Title{}, false
	}
	return c.episode(&c.rows[at], s, e), true
}

func (c *Catalogue) episode(r *row, season, episode int) domain.Title {
	t := r.title
	t.ID, t.Kind = EpisodeID(r.title.ID, season, episode), domain.KindEpisode
	t.Name = fmt.Sprintf("%s, season %d, episode %d", r.work, season, episode)
	t.Series, t.Season, t.Episode = r.work, season, episode
	return t
}

// Pick draws a playable, popular ones more often; of a series an episode, the first ones more often.
func (c *Catalogue) Pick(random *rand.Rand) domain.Title {
	x := random.Float64() * c.weights[len(c.weights)-1]
	r := &c.rows[min(sort.SearchFloat64s(c.weights, x), len(c.rows)-1)]
	if r.title.Kind == domain.KindMovie {
		return r.title
	}
	s := r.seasons[min(random.IntN(len(r.seasons)), random.IntN(len(r.seasons)))]
	n := episodesOf(r.title.ID, s)
	return c.episode(r, s, 1+min(random.IntN(n), random.IntN(n), random.IntN(n)))
}

// Next is the episode after this one, also over the end of a season; false after the last and for a movie.
func (c *Catalogue) Next(id string) (domain.Title, bool) {
	m := episodeID.FindStringSubmatch(id)
	if m == nil {
		return domain.Title{}, false
	}
	s, _ := strconv.Atoi(m[2])
	e, _ := strconv.Atoi(m[3])
	if t, ok := c.Title(EpisodeID(m[1], s, e+1)); ok {
		return t, true
	}
	return c.Title(EpisodeID(m[1], s+1, 1))
}

// All are the rows of the file in their order: movies and series.
func (c *Catalogue) All(yield func(domain.Title) bool) {
	for i := range c.rows {
		if !yield(c.rows[i].title) {
			return
		}
	}
}

// Episodes are the episodes of a series, in order.
func (c *Catalogue) Episodes(series string) []domain.Title {
	i, ok := c.byID[series]
	if !ok {
		return nil
	}
	var out []domain.Title
	for _, s := range c.rows[i].seasons {
		for e := range episodesOf(series, s) {
			out = append(out, c.episode(&c.rows[i], s, e+1))
		}
	}
	return out
}

// Store is the catalogue of a data folder: the embedded one until a file was imported, and past ones by version.
type Store struct {
	dir     string
	mu      sync.Mutex
	current *Catalogue
	past    map[string]*Catalogue
}

var _ command.Catalogues = (*Store)(nil)

// Open opens the catalogue that is kept in dir. A folder without one means the embedded catalogue.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir, past: map[string]*Catalogue{}}
	version, err := os.ReadFile(filepath.Join(dir, "current"))
	switch {
	case errors.Is(err, os.ErrNotExist):
		s.current, err = Embedded()
	case err == nil:
		s.current, err = s.load(strings.TrimSpace(string(version)))
	}
	if err != nil {
		return nil, fmt.Errorf("opening the catalogue in %s: %w", dir, err)
	}
	return s, nil
}

// Current is the catalogue in force.
func (s *Store) Current() command.Catalogue { s.mu.Lock(); defer s.mu.Unlock(); return s.current }

// Catalogue is the catalogue in force, with all that it can.
func (s *Store) Catalogue() *Catalogue { s.mu.Lock(); defer s.mu.Unlock(); return s.current }

// Version finds a catalogue that was in force once.
func (s *Store) Version(version string) (command.Catalogue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.version == version {
		return s.current, nil
	}
	if c, ok := s.past[version]; ok {
		return c, nil
	}
	c, err := s.load(version)
	if err != nil {
		e, embeddedErr := Embedded()
		if embeddedErr != nil || e.version != version {
			return nil, fmt.Errorf("catalogue %s: %w", version, errors.Join(domain.ErrNotFound, err))
		}
		c = e
	}
	s.past[version] = c
	return c, nil
}

func (s *Store) load(version string) (*Catalogue, error) {
	if err := domain.CheckID("catalogue version", version); err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(s.dir, version+".csv.gz"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("catalogue %s: %w", version, err)
	}
	raw, err := io.ReadAll(io.LimitReader(z, MaxImportBytes+1))
	if err != nil {
		return nil, fmt.Errorf("catalogue %s: %w", version, err)
	}
	c, _, err := Read(raw)
	if err != nil {
		return nil, err
	}
	if c.version != version {
		return nil, fmt.Errorf("the file of catalogue %s holds catalogue %s: it was changed", version, c.version)
	}
	return c, nil
}

// Import replaces the catalogue in one step, unless the file has no good row. Past versions are kept.
func (s *Store) Import(ctx context.Context, r io.Reader) (*Catalogue, []BadRow, error) {
	raw, err := io.ReadAll(io.LimitReader(r, MaxImportBytes+1))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the file: %w", err)
	}
	if len(raw) > MaxImportBytes {
		return nil, nil, fmt.Errorf("the file is larger than %d MiB", MaxImportBytes>>20)
	}
	c, bad, err := Read(raw)
	if err != nil {
		return nil, bad, err
	}
	if err := ctx.Err(); err != nil {
		return nil, bad, err
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(raw); err != nil {
		return nil, bad, err
	}
	if err := z.Close(); err != nil {
		return nil, bad, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, bad, err
	}
	// The content first, then the pointer to it: whoever starts in between finds the old one whole.
	if err := replace(filepath.Join(s.dir, c.version+".csv.gz"), packed.Bytes()); err != nil {
		return nil, bad, err
	}
	if err := replace(filepath.Join(s.dir, "current"), []byte(c.version+"\n")); err != nil {
		return nil, bad, err
	}
	s.past[s.current.version] = s.current
	s.current = c
	return c, bad, nil
}

// replace writes a file beside the old one and puts it in its place.
func replace(path string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the error that matters is returned
		}
	}()
	if _, err = f.Write(content); err != nil {
		return errors.Join(err, f.Close())
	}
	if err = f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
