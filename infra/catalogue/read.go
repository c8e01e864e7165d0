package catalogue

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
	"unique"

	"golang.org/x/text/language"

	"carryon/domain"
)

// A file is CSV with a header. A bad row is left out and reported by line and reason; a file without a good one is
// refused.

//go:embed titles.csv.gz
var embedded []byte

// embeddedBytes is about how large the embedded file is when it is unpacked.
const embeddedBytes = 1 << 20

// Embedded is the catalogue that comes with the program.
func Embedded() (*Catalogue, error) {
	raw, err := unpack(embedded, embeddedBytes)
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

func unpack(packed []byte, expected int) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	var raw bytes.Buffer
	raw.Grow(expected)
	if _, err := io.Copy(&raw, io.LimitReader(z, MaxImportBytes+1)); err != nil {
		return nil, err
	}
	return raw.Bytes(), nil
}

// BadRow is a row that was left out.
type BadRow struct {
	Line   int // of the file, where the row begins; the header is in line 1
	Reason string
}

// The columns that a file may have, in any order. The first three must be there.
const (
	colTitleID = iota
	colTitle
	colKind
	colReleased
	colDuration
	colRating
	colGenres
	colCountry
	colLanguage
	colGlobal
	colOriginal
	colHours
	colViews
	colStudio
	colWindows
	columns
)

var columnNames = [columns]string{
	"title_id", "title", "kind", "release_date", "duration", "rating", "genres", "country", "language", "available_globally", "original",
	"hours_viewed", "views", "studio", "windows",
}

// line is a line of the file.
type line struct {
	at     [columns]int // where a column stands; -1: the file does not have it
	fields []string
}

func (l *line) text(column int) string {
	if at := l.at[column]; at >= 0 {
		return strings.TrimSpace(l.fields[at])
	}
	return ""
}

// Read reads a file and reports each bad row by line and reason. It fails when there is no good row.
func Read(raw []byte) (*Catalogue, []BadRow, error) { return read(raw, (*line).checkImported) }

// readKept reads a file that was imported. What is checked since then is not checked in it: the titles that it had are
// those that decisions were made by.
func readKept(raw []byte) (*Catalogue, []BadRow, error) {
	return read(raw, func(*line) error { return nil })
}

func read(raw []byte, further func(*line) error) (*Catalogue, []BadRow, error) {
	r := csv.NewReader(bytes.NewReader(raw))
	r.FieldsPerRecord = -1
	r.ReuseRecord = true
	header, err := r.Read()
	switch {
	case errors.Is(err, io.EOF):
		return nil, nil, errors.New("the file is empty: the first line is a header")
	case err != nil:
		return nil, nil, fmt.Errorf("reading the header: %w", err)
	}
	l, err := places(header)
	if err != nil {
		return nil, nil, err
	}
	sum, lines := sha256.Sum256(raw), bytes.Count(raw, []byte{'\n'})
	c := &Catalogue{version: hex.EncodeToString(sum[:6]), byID: make(map[string]int, lines), studios: map[string]bool{}, rows: make([]row, 0, lines)}
	var bad []BadRow
	for {
		var err error
		l.fields, err = r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if parse, ok := errors.AsType[*csv.ParseError](err); ok {
			bad = append(bad, BadRow{parse.StartLine, broken(parse)})
			continue
		} else if err != nil {
			return nil, bad, err
		}
		at, _ := r.FieldPos(0)
		if made, err := l.row(len(header), c, further); err != nil {
			bad = append(bad, BadRow{at, strings.ReplaceAll(err.Error(), "\n", "; ")})
		} else {
			c.add(made)
		}
	}
	if len(c.rows) == 0 {
		return nil, bad, fmt.Errorf("there is no good row: %w", ErrBadRows)
	}
	return c, bad, nil
}

// broken says what is wrong with the CSV itself. A quote that nobody closes swallows the lines behind it.
func broken(e *csv.ParseError) string {
	if e.Line > e.StartLine {
		return fmt.Sprintf("%s; the row goes on to line %d, and everything up to there is left out", e.Err, e.Line)
	}
	return e.Err.Error()
}

func places(header []string) (*line, error) {
	l := &line{}
	for i := range l.at {
		l.at[i] = -1
	}
	var twice, unknown, missing []string
	for i, name := range header {
		name = strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))
		switch column := slices.Index(columnNames[:], name); {
		case column < 0:
			unknown = append(unknown, name)
		case l.at[column] >= 0:
			twice = append(twice, name)
		default:
			l.at[column] = i
		}
	}
	for _, must := range []int{colTitleID, colTitle, colKind} {
		if l.at[must] < 0 {
			missing = append(missing, columnNames[must])
		}
	}
	var errs []error
	for _, wrong := range []struct {
		what  string
		names []string
	}{{"lacks", missing}, {"does not know", unknown}, {"has twice", twice}} {
		if len(wrong.names) > 0 {
			errs = append(errs, fmt.Errorf("the header %s %q", wrong.what, wrong.names))
		}
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("%w; the columns are %s", errors.Join(errs...), strings.Join(columnNames[:], ","))
	}
	return l, nil
}

// row checks a line, and derives what it does not say.
func (l *line) row(width int, c *Catalogue, further func(*line) error) (row, error) {
	if len(l.fields) != width {
		return row{}, fmt.Errorf("has %d columns, the header has %d", len(l.fields), width)
	}
	id := strings.Clone(l.text(colTitleID)) // a field keeps its whole line in memory
	if _, twice := c.byID[id]; twice {
		return row{}, fmt.Errorf("title_id %s stands twice", id)
	}
	watched, err := l.check(id)
	given, windowErr := parseWindows(l.text(colWindows))
	if err := errors.Join(err, windowErr, further(l)); err != nil {
		return row{}, err
	}
	name, rated := repair(strings.Clone(l.text(colTitle))), ratingOf(l.text(colRating))
	r := row{title: domain.Title{
		ID: id, Kind: l.kind(), Name: name, Rating: interned(rated), Maturity: maturityOf(rated),
		Released: strings.Clone(l.text(colReleased)), Windows: given, RegionRule: regionRuleOf(id),
		Downloadable: draw("downloadable", id, 40) != 0, Views: watched, Weight: weightOf(id, watched),
	}}
	var season int
	r.work, season = work(name, r.title.Kind)
	r.title.Studio = cmp.Or(interned(l.text(colStudio)), studioOf(r.work, l.text(colOriginal) == "true"))
	if given == nil {
		r.title.Windows = windowsOf(id, l.text(colCountry), l.text(colGlobal))
	}
	if text := l.text(colGenres); text != "" {
		r.title.Genres = strings.Split(strings.Clone(text), "|")
	}
	if r.title.Kind == domain.KindSeries {
		r.title.Series, r.seasons = r.work, seasonsOf(season, l.text(colDuration))
	}
	return r, nil
}

// check finds what is wrong with the fields, and reads the views.
func (l *line) check(id string) (int64, error) {
	var errs []error
	if err := domain.CheckID("title_id", id); err != nil {
		errs = append(errs, err)
	}
	if len(id) > domain.MaxIDLength-len("-s01e01") {
		errs = append(errs, fmt.Errorf("title_id is %d bytes long, which leaves no room for the ids of episodes", len(id)))
	}
	if _, _, _, episode := parseEpisodeID(id); episode {
		errs = append(errs, fmt.Errorf("title_id %s looks like the id of an episode, which is derived", id))
	}
	for column := range columns {
		switch text := l.text(column); {
		case !utf8.ValidString(text):
			errs = append(errs, fmt.Errorf("%s is not valid UTF-8", columnNames[column]))
		case utf8.RuneCountInString(text) > 500 && column != colWindows:
			errs = append(errs, fmt.Errorf("%s is longer than 500 characters", columnNames[column]))
		}
	}
	if l.text(colTitle) == "" {
		errs = append(errs, errors.New("title is empty"))
	}
	if l.kind() == "" {
		errs = append(errs, fmt.Errorf("kind is %q; wanted movie or series", l.text(colKind)))
	}
	_, err := l.count(colHours)
	watched, viewsErr := l.count(colViews)
	errs = append(errs, err, viewsErr)
	for _, column := range []int{colGlobal, colOriginal} {
		if v := l.text(column); v != "" && v != "true" && v != "false" {
			errs = append(errs, fmt.Errorf("%s is %q; wanted true, false or nothing", columnNames[column], v))
		}
	}
	if name := l.text(colStudio); name != "" {
		if err := domain.CheckID("studio", name); err != nil {
			errs = append(errs, err)
		}
	}
	return watched, errors.Join(errs...)
}

var (
	year     = regexp.MustCompile(`^[12][0-9]{3}$`)
	duration = regexp.MustCompile(`^([1-9][0-9]{0,3} min|([1-9]|[1-5][0-9]|60) Seasons?)$`)
)

// checkImported finds what would be derived from without being understood, or shown without being legible.
func (l *line) checkImported() error {
	var errs []error
	for column := range columns {
		if strings.ContainsFunc(l.text(column), func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) {
			errs = append(errs, fmt.Errorf("%s holds a control character", columnNames[column]))
		}
	}
	if v := l.text(colReleased); v != "" && !year.MatchString(v) {
		if _, err := time.Parse(time.DateOnly, v); err != nil || !year.MatchString(v[:4]) {
			errs = append(errs, fmt.Errorf("release_date is %q; wanted a year or a day, as in 2023 or 2023-05-12, or nothing", v))
		}
	}
	if v := l.text(colDuration); v != "" && !duration.MatchString(v) {
		errs = append(errs, fmt.Errorf("duration is %q; wanted minutes or up to 60 seasons, as in 97 min or 3 Seasons, or nothing", v))
	}
	return errors.Join(errs...)
}

func (l *line) count(column int) (int64, error) {
	text := l.text(column)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s is %q; wanted a whole number, 0 or more", columnNames[column], text)
	}
	return n, nil
}

// interned is a text that many rows share.
func interned(text string) string { return unique.Make(text).Value() }

// kind is a constant, or empty for none that a file may name.
func (l *line) kind() string {
	switch l.text(colKind) {
	case domain.KindMovie:
		return domain.KindMovie
	case domain.KindSeries:
		return domain.KindSeries
	}
	return ""
}

// parseWindows reads "DE+AT@2026-01-01..2026-07-01|US@..2027-01-01": countries, or * for everywhere, and from when to
// when; a missing day means without beginning or end. Nothing means that the windows are derived: nil.
func parseWindows(text string) ([]domain.Window, error) {
	if text == "" {
		return nil, nil
	}
	var parsed []domain.Window
	for part := range strings.SplitSeq(text, "|") {
		w, err := parseWindow(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("windows holds %q: %w", part, err)
		}
		parsed = append(parsed, w)
	}
	return parsed, nil
}

func parseWindow(text string) (w domain.Window, err error) {
	where, when, dated := strings.Cut(text, "@")
	if where != "*" {
		for country := range strings.SplitSeq(where, "+") {
			if !isCountry(country) {
				return w, fmt.Errorf("%q is no country: two capital letters of ISO 3166, or * for everywhere", country)
			}
			w.Countries = append(w.Countries, strings.Clone(country))
		}
		slices.Sort(w.Countries)
		w.Countries = slices.Compact(w.Countries)
	}
	if !dated {
		return w, nil
	}
	from, to, ok := strings.Cut(when, "..")
	if !ok {
		return w, errors.New("wanted two days with .. between them, as in 2026-01-01..2026-07-01")
	}
	if w.From, err = parseDay(from); err != nil {
		return w, err
	}
	if w.To, err = parseDay(to); err != nil {
		return w, err
	}
	if !w.To.IsZero() && !w.From.Before(w.To) {
		return w, errors.New("ends before it begins")
	}
	return w, nil
}

func parseDay(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil && t.Year() >= 1900 {
			return t.UTC().Truncate(time.Microsecond), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no day: wanted one as in 2026-01-01 or 2026-01-01T06:00:00Z", text)
}

func isCountry(code string) bool {
	if len(code) != 2 || code[0] < 'A' || code[0] > 'Z' || code[1] < 'A' || code[1] > 'Z' {
		return false
	}
	region, err := language.ParseRegion(code)
	return err == nil && region.IsCountry() && region.Canonicalize().String() == code // GB, not UK
}
