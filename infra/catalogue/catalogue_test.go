package catalogue_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"carryon/domain"
	"carryon/infra/catalogue"
)

const header = "title_id,title,kind,release_date,duration,rating,genres,country,language,available_globally,original,hours_viewed,views\n"

func embedded(t *testing.T) *catalogue.Catalogue {
	t.Helper()
	c, err := catalogue.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEmbeddedCatalogueHoldsEveryTitleOfTheFile(t *testing.T) {
	t.Parallel()
	c := embedded(t)
	movies, series, episodes := c.Counts()
	if movies != 6159 || series != 2963 {
		t.Fatalf("%d movies and %d series, want 6159 and 2963", movies, series)
	}
	counted := 0
	studios := map[string]int{}
	policy := domain.DefaultPolicy()
	for title := range c.All {
		studios[title.Studio]++
		if _, ok := policy.Studios[title.Studio]; !ok {
			t.Fatalf("%s is of studio %s, which the default policy does not know", title.ID, title.Studio)
		}
		if title.Kind != domain.KindSeries {
			continue
		}
		if title.Playable() {
			t.Fatalf("the series %s is playable", title.ID)
		}
		for _, e := range c.Episodes(title.ID) {
			counted++
			again, ok := c.Title(e.ID)
			if !ok || again.Name != e.Name || again.Studio != title.Studio || !again.Playable() {
				t.Fatalf("episode %s is %+v when looked up, want %+v", e.ID, again, e)
			}
		}
	}
	if counted != episodes {
		t.Fatalf("%d episodes can be listed, %d are counted", counted, episodes)
	}
	for studio := range studios {
		if !c.Studio(studio) || c.Studio(studio+"-nope") {
			t.Errorf("studio %s is not known, or one that is none is", studio)
		}
	}
	if len(studios) != 8 {
		t.Fatalf("studios: %v", studios)
	}
}

func TestEpisodesFollowOneAnotherAcrossSeasonsAndEnd(t *testing.T) {
	t.Parallel()
	c := embedded(t)
	for title := range c.All {
		if title.Kind != domain.KindSeries {
			continue
		}
		all := c.Episodes(title.ID)
		at, steps := all[0], 1
		for {
			next, ok := c.Next(at.ID)
			if !ok {
				break
			}
			if next.ID != all[steps].ID {
				t.Fatalf("after %s comes %s, want %s", at.ID, next.ID, all[steps].ID)
			}
			at = next
			steps++
		}
		if steps != len(all) {
			t.Fatalf("%s ends after %d of %d episodes", title.ID, steps, len(all))
		}
	}
}

func TestUnknownTitlesAndEpisodesAreNotFound(t *testing.T) {
	t.Parallel()
	c := embedded(t)
	for _, id := range []string{"", "t99999", "t00003-s09e01", "t00003-s01e99", "t00003-s01e00", "t00001-s01e01", "t00003-s1e1", "-s01e01"} {
		if title, ok := c.Title(id); ok {
			t.Errorf("%q is %+v", id, title)
		}
	}
}

func TestASeasonRowIsThatSeasonAndKeepsItsStudio(t *testing.T) {
	t.Parallel()
	c := embedded(t)
	title, ok := c.Title("t00003") // The Night Agent: Season 1
	if !ok || title.Series != "The Night Agent" {
		t.Fatalf("%+v", title)
	}
	e, ok := c.Title("t00003-s01e02")
	if !ok || e.Season != 1 || e.Episode != 2 || e.Name != "The Night Agent, season 1, episode 2" {
		t.Fatalf("%+v", e)
	}
}

func TestEveryWayOfNamingASeasonIsUnderstood(t *testing.T) {
	t.Parallel()
	c := embedded(t)
	for id, want := range map[string]string{
		"t00003": "The Night Agent 1", "t00226": "Money Heist 1", "t00368": "Avatar: The Last Airbender 3", "t00306": "Unsolved Mysteries 3",
		"t00124": "Who Were We Running From? 1", "t00284": "The Sinner 4", "t00495": "Rebelde Way (2002) 1", "t00519": "Resurrection: Ertugrul 1 2 3 4 5",
	} {
		title, ok := c.Title(id)
		got := title.Series
		season := 0
		for _, e := range c.Episodes(id) {
			if e.Season != season {
				season = e.Season
				got += fmt.Sprintf(" %d", season)
			}
		}
		if !ok || got != want {
			t.Errorf("%s is %q, want %q", id, got, want)
		}
	}
}

func TestNamesReadWithTheWrongAlphabetAreRepairedAndRightOnesLeftAlone(t *testing.T) {
	t.Parallel()
	c := embedded(t)
	for id, want := range map[string]string{
		"t00031": "The Glory: Season 1 // 더 글로리: 시즌 1",
		"t00153": "¡Que viva México!",
		"t00467": "Pokémon Journeys: The Series: Season 1",
		"t00124": "Who Were We Running From?: Limited Series // Biz Kimden Kaçıyorduk Anne?: Mini Dizi",
	} {
		if title, _ := c.Title(id); title.Name != want {
			t.Errorf("%s is %q, want %q", id, title.Name, want)
		}
	}
	file := header
	names := []string{"Fake Profile // Perfil falso", "Amélie", "Señora Acero // Señora Acero", "ÌôòÌòº // plain", "√2 // √ // π", "Ünal's // Café 天"}
	want := []string{"Fake Profile // Perfil falso", "Amélie", "Señora Acero // Señora Acero", "환혼 // plain", "√2 // √ // π", "Ünal's // Café 天"}
	for i, name := range names {
		file += fmt.Sprintf("a%d,%s,movie,,,,,,,,,,\n", i, name)
	}
	made := read(t, file)
	for i := range names {
		if title, _ := made.Title(fmt.Sprintf("a%d", i)); title.Name != want[i] {
			t.Errorf("%q became %q, want %q", names[i], title.Name, want[i])
		}
	}
}

// What is derived is recorded in decisions, as a studio and a window end, and must come out again for ever.
func TestWhatIsDerivedFromTheFileNeverChanges(t *testing.T) {
	t.Parallel()
	const want = "030ae6bf1ac05c16"
	hash := sha256.New()
	for title := range embedded(t).All {
		// The digest is older than the field, which says of an episode what its id says.
		fmt.Fprintln(hash, strings.Replace(fmt.Sprintf("%+v", title), " SeriesID:"+title.SeriesID, "", 1))
	}
	for title := range embedded(t).Playables() {
		if series, _, episode := strings.Cut(title.ID, "-s"); (title.Kind == domain.KindEpisode) != episode || episode && title.SeriesID != series || !episode && title.SeriesID != "" {
			t.Fatalf("title %s is of series %q", title.ID, title.SeriesID)
		}
		fmt.Fprintf(hash, "%s %s %d %d\n", title.ID, title.Name, title.Season, title.Episode)
	}
	if got := hex.EncodeToString(hash.Sum(nil)[:8]); got != want {
		t.Errorf("the digest is %s, was %s: past decisions on this catalogue can't be made again", got, want)
	}
}

func TestPlayablesAreEveryMovieAndEpisodeOnce(t *testing.T) {
	t.Parallel()
	c := embedded(t)
	movies, _, episodes := c.Counts()
	seen := make(map[string]bool)
	for title := range c.Playables() {
		if seen[title.ID] || !title.Playable() {
			t.Fatalf("%s comes twice, or can't be licensed: %+v", title.ID, title)
		}
		seen[title.ID] = true
		if len(seen) == 9000 {
			if again, ok := c.Title(title.ID); !ok || again.Name != title.Name || again.Weight != title.Weight {
				t.Errorf("%s is %+v when looked up, want %+v", title.ID, again, title)
			}
		}
	}
	if len(seen) != movies+episodes {
		t.Errorf("%d playables, want %d movies and %d episodes", len(seen), movies, episodes)
	}
	count := 0
	for range c.Playables() {
		if count++; count == 5 {
			break // must end it
		}
	}
	if count != 5 {
		t.Errorf("it went on to %d", count)
	}
}

func TestWindowsAreEverywhereForMostAndClosedForSome(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, time.June, 1, 0, 0, 0, 0, time.UTC)
	var everywhere, some, ended, coming, twoParts int
	for title := range embedded(t).All {
		if len(title.Windows) == 0 {
			t.Fatalf("%s has no window", title.ID)
		}
		for _, w := range title.Windows {
			if !slices.IsSorted(w.Countries) || !w.To.IsZero() && !w.From.Before(w.To) {
				t.Errorf("%s has the window %+v", title.ID, w)
			}
		}
		_, us := title.WindowAt("US", now)
		switch w := title.Windows[0]; {
		case len(title.Windows) > 1:
			twoParts++
			_, before := title.WindowAt("US", now.AddDate(-2, 0, 0))
			_, after := title.WindowAt("US", now.AddDate(2, 0, 0))
			if before == after {
				t.Errorf("%s is in two windows, of which the US has both or none", title.ID)
			}
		case len(w.Countries) > 0:
			some++
		case us && w.To.IsZero() && w.From.IsZero():
			everywhere++
		case !us && !w.To.IsZero():
			ended++
		case !us:
			coming++
		}
	}
	if everywhere < 6000 || some < 500 || ended < 300 || coming < 50 || twoParts < 100 {
		t.Errorf("%d everywhere, %d in some countries, %d ended, %d coming, %d in two parts", everywhere, some, ended, coming, twoParts)
	}
}

func TestAvailableGloballyIsRespected(t *testing.T) {
	t.Parallel()
	var file strings.Builder
	file.WriteString(header)
	for i := range 300 {
		fmt.Fprintf(&file, "g%d,Global,movie,,,,,\"Finland, France\",,true,,,\n", i)
		fmt.Fprintf(&file, "r%d,Regional,movie,,,,,\"Finland, France\",,false,,,\n", i)
	}
	c := read(t, file.String())
	now := time.Date(2026, time.June, 1, 0, 0, 0, 0, time.UTC)
	closed := 0
	for i := range 300 {
		global, _ := c.Title(fmt.Sprintf("g%d", i))
		if _, open := global.WindowAt("NZ", now); !open {
			t.Errorf("%s is for the whole world, and not to be had in NZ", global.ID)
		}
		regional, _ := c.Title(fmt.Sprintf("r%d", i))
		if _, open := regional.WindowAt("FI", now); !open {
			t.Errorf("%s can't be had where it comes from", regional.ID)
		}
		if _, open := regional.WindowAt("NZ", now); !open {
			closed++
		}
	}
	if closed < 20 || closed > 100 {
		t.Errorf("%d of 300 regional titles can't be had in NZ, want about 45", closed)
	}
}

func TestAFileMayNameStudiosAndWindows(t *testing.T) {
	t.Parallel()
	file := "\ufeffwindows,title_id,kind,studio,title\r\n" +
		"DE+AT@2026-01-01..2026-07-01 | US@..2027-01-01T06:00:00Z,m1,movie,nordlicht,Named\r\n" +
		"*,m2,movie,,Everywhere\r\n" +
		"*@2030-01-01..,m3,series,aurora,Later\r\n"
	c := read(t, file)
	m1, _ := c.Title("m1")
	day := func(y int, m time.Month, h int) time.Time { return time.Date(y, m, 1, h, 0, 0, 0, time.UTC) }
	want := []domain.Window{{Countries: []string{"AT", "DE"}, From: day(2026, 1, 0), To: day(2026, 7, 0)}, {Countries: []string{"US"}, To: day(2027, 1, 6)}}
	if m1.Studio != "nordlicht" || fmt.Sprint(m1.Windows) != fmt.Sprint(want) {
		t.Errorf("m1 is of %s in %v", m1.Studio, m1.Windows)
	}
	if m2, _ := c.Title("m2"); len(m2.Windows) != 1 || len(m2.Windows[0].Countries) != 0 || m2.Studio == "" {
		t.Errorf("m2 is %+v", m2)
	}
	if e, ok := c.Title("m3-s01e01"); !ok || e.Studio != "aurora" || !e.Windows[0].From.Equal(day(2030, 1, 0)) {
		t.Errorf("an episode of m3 is %+v", e)
	}
	bad := "title_id,title,kind,windows\n"
	reasons := []string{"no country", "no country", "no country", "wanted two days", "no day", "ends before it begins", "no country", "no day", "no country"}
	for i, windows := range []string{"de", "UK", "XX", "DE@2026", "DE@soon..", "DE@2026-02-01..2026-02-01", "DE||US", "DE@0000-01-01..", "DE;US"} {
		bad += fmt.Sprintf("b%d,Bad,movie,%s\n", i, windows)
	}
	_, rows, err := catalogue.Read([]byte(bad + "ok,Good,movie,*\n"))
	if err != nil || len(rows) != len(reasons) {
		t.Fatalf("%v, %v", rows, err)
	}
	for i, row := range rows {
		if row.Line != i+2 || !strings.Contains(row.Reason, reasons[i]) {
			t.Errorf("line %d: %s, want line %d and %q", row.Line, row.Reason, i+2, reasons[i])
		}
	}
}

func TestPopularTitlesAreDrawnMoreOften(t *testing.T) {
	t.Parallel()
	c := embedded(t)
	random := rand.New(rand.NewPCG(1, 2))
	counts := map[string]int{}
	for range 20_000 {
		title := c.Pick(random)
		if !title.Playable() {
			t.Fatalf("drew %+v", title)
		}
		counts[title.ID]++
	}
	if counts["t00001"] < 10*max(1, counts["t05000"]) || len(counts) < 2000 {
		t.Fatalf("t00001 %d times, t05000 %d times, %d titles in all", counts["t00001"], counts["t05000"], len(counts))
	}
}

func TestEveryBadRowIsReportedByLineAndReason(t *testing.T) {
	t.Parallel()
	file := header +
		"a1,Good,movie,,,,,,,,,,\n" +
		",No id,movie,,,,,,,,,,\n" +
		"a2,,movie,,,,,,,,,,\n" +
		"a3,Bad kind,opera,,,,,,,,,,\n" +
		"a4,Bad views,movie,,,,,,,,,,-3\n" +
		"a1,Twice,movie,,,,,,,,,,\n" +
		"a5,Short row,movie\n" +
		"a6,Bad flag,movie,,,,,,,perhaps,,,\n" +
		"a7-s01e01,Looks like an episode,movie,,,,,,,,,,\n" +
		"a8,Bad \xff bytes,movie,,,,,,,,,,\n" +
		"a9,Also good,series,2020,2 Seasons,TV-Y,,,,,,,\n" +
		"b1,Bare\"quote,movie,,,,,,,,,,\n" +
		"b2,\"Over\ntwo lines\",movie,,,,,,,,,,\n" +
		"\"b\"3,Quote,movie,,,,,,,,,,\n" +
		"b4,Hours,movie,,,,,,,,,many,99999999999999999999\n" +
		strings.Repeat("x", 125) + ",Long id,movie,,,,,,,,,,\n" +
		"b5," + strings.Repeat("x", 501) + ",movie,,,,,,,,,,\n" +
		"c1,No day,movie,2023-13-12,,,,,,,,,\n" +
		"c2,No year,movie,soon,0 min,,,,,,,,\n" +
		"c3,No duration,series,0000,99 Seasons,,,,,,,,\n" +
		"c4,No\x00name,movie,,-5,,,,,,,,\n" +
		"c5,Good,series,2023-05-12,1 Season,,,,,,,,\n" +
		"b6,\"Never closed,movie,,,,,,,,,,\n" +
		"b7,Swallowed,movie,,,,,,,,,,\n"
	c, bad, err := catalogue.Read([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	want := map[int]string{3: "title_id is missing", 4: "title is empty", 5: `kind is "opera"`, 6: `views is "-3"`, 7: "stands twice", 8: "has 3 columns", 9: `available_globally is "perhaps"`, 10: "looks like the id of an episode",
		11: "not valid UTF-8", 13: "quote", 16: "quote", 17: "hours_viewed is \"many\"; wanted a whole number, 0 or more; views is", 18: "no room for the ids of episodes",
		19: "longer than 500", 20: `release_date is "2023-13-12"; wanted a year or a day`, 21: `release_date is "soon"; wanted a year or a day, as in 2023 or 2023-05-12, or nothing; duration is "0 min"`,
		22: `duration is "99 Seasons"; wanted minutes or up to 60 seasons`, 23: `title holds a control character; duration is "-5"`, 25: "everything up to there is left out"}
	if len(bad) != len(want) {
		t.Errorf("%d bad rows, want %d: %v", len(bad), len(want), bad)
	}
	for _, b := range bad {
		if !strings.Contains(b.Reason, want[b.Line]) || want[b.Line] == "" {
			t.Errorf("line %d: %q, want %q", b.Line, b.Reason, want[b.Line])
		}
	}
	if title, _ := c.Title("b2"); title.Name != "Over\ntwo lines" {
		t.Errorf("a name over two lines is %q", title.Name)
	}
	if _, ok := c.Title("a9-s02e06"); !ok {
		t.Error("the second season of a9 is missing")
	}
}

func TestImportReplacesTheCatalogueAndKeepsThePast(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := catalogue.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	before := s.Current().Version()
	c, bad, err := s.Import(t.Context(), strings.NewReader(header+"x1,One,movie,,,,,,,,,,\n"))
	if err != nil || len(bad) > 0 {
		t.Fatal(err, bad)
	}
	again, err := catalogue.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*catalogue.Store{s, again} {
		if s.Current().Version() != c.Version() {
			t.Errorf("in force is %s, want %s", s.Current().Version(), c.Version())
		}
		if _, ok := s.Current().Title("x1"); !ok {
			t.Error("the imported title is missing")
		}
		old, err := s.Version(before)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := old.Title("t00001"); !ok {
			t.Error("the old catalogue lost its titles")
		}
		if _, err := s.Version("000000000000"); err == nil {
			t.Error("a catalogue that never was is found")
		}
	}
}

func TestAnImportWithoutAGoodRowChangesNothing(t *testing.T) {
	t.Parallel()
	s, err := catalogue.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	before := s.Current().Version()
	for name, file := range map[string]string{"empty": "", "no rows": header, "only bad": header + "x,,movie,,,,,,,,,,\n", "wrong header": "id,name\n1,2\n", "unknown column": strings.TrimSpace(header) + ",colour\nx,One,movie,,,,,,,,,,,\n",
		"a column twice": "title_id,title,kind,title\nx,One,movie,Two\n", "a broken header": "title_id,\"title,kind\n"} {
		if _, _, err := s.Import(t.Context(), strings.NewReader(file)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if s.Current().Version() != before {
		t.Error("the catalogue changed")
	}
}

func TestAnImportWithABadRowChangesNothingUnlessItMayLeaveItOut(t *testing.T) {
	t.Parallel()
	s, err := catalogue.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	before := s.Current().Version()
	file := header + "x1,One,movie,,,,,,,,,,\nx2,,movie,,,,,,,,,,\n"
	c, bad, err := s.Import(t.Context(), strings.NewReader(file))
	if !errors.Is(err, catalogue.ErrBadRows) || c != nil || len(bad) != 1 || bad[0].Line != 3 || s.Current().Version() != before {
		t.Fatalf("catalogue %v, bad rows %v, error %v, in force %s", c, bad, err, s.Current().Version())
	}
	c, bad, err = s.ImportGoodRows(t.Context(), strings.NewReader(file))
	if err != nil || len(bad) != 1 || s.Current().Version() != c.Version() {
		t.Fatalf("bad rows %v, error %v, in force %s", bad, err, s.Current().Version())
	}
}

func TestAnImportThatIsInterruptedChangesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := catalogue.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	before := s.Current().Version()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	good := header + "x1,One,movie,,,,,,,,,,\n"
	if _, _, err := s.Import(ctx, strings.NewReader(good)); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled import: %v", err)
	}
	if _, _, err := s.Import(t.Context(), io.MultiReader(strings.NewReader(good), failing{})); !errors.Is(err, errBroken) {
		t.Errorf("a file that can't be read to its end: %v", err)
	}
	if files, _ := os.ReadDir(dir); len(files) > 0 || s.Current().Version() != before {
		t.Errorf("left behind: %v, in force %s", files, s.Current().Version())
	}
}

var errBroken = errors.New("broken pipe")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errBroken }

func TestAKeptFileThatWasChangedIsNotTakenForAnother(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := catalogue.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	one, _, err := s.Import(t.Context(), strings.NewReader(header+"x1,One,movie,,,,,,,,,,\n"))
	if err != nil {
		t.Fatal(err)
	}
	two, _, err := s.Import(t.Context(), strings.NewReader(header+"x1,Two,movie,,,,,,,,,,\n"))
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, one.Version()+".csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{"another's": content, "cut": content[:len(content)-4], "empty": nil, "no archive": []byte("title_id")} {
		if err := os.WriteFile(filepath.Join(dir, two.Version()+".csv.gz"), damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := catalogue.Open(dir); err == nil || !strings.Contains(err.Error(), two.Version()) {
			t.Errorf("%s: opened, or %v", name, err)
		}
	}
	if err := os.Remove(filepath.Join(dir, one.Version()+".csv.gz")); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"000000000000", "", "../../etc/passwd", strings.Repeat("x", 4000)} {
		if _, err := s.Version(version); !errors.Is(err, domain.ErrNotFound) {
			t.Errorf("version %.20q: %v", version, err)
		}
	}
	if old, err := s.Version(one.Version()); err != nil || old.Version() != one.Version() {
		t.Errorf("a version that this process had in force is gone: %v", err)
	}
}

func TestManyMayReadWhileOneImports(t *testing.T) {
	t.Parallel()
	s, err := catalogue.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	first := s.Current().Version()
	var group sync.WaitGroup
	for n := range 4 {
		group.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(n)))
			for range 200 {
				c := s.Catalogue()
				if title := c.Pick(random); !title.Playable() {
					t.Errorf("drew %+v", title)
				}
				c.Search("lo", 0, 2)
				if _, err := s.Version(first); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 3 {
		file := fmt.Sprintf("%sx%d,Love %d,movie,,,,,,,,,,\n", header, i, i)
		if _, _, err := s.Import(t.Context(), strings.NewReader(file)); err != nil {
			t.Error(err)
		}
	}
	group.Wait()
}

func TestSearchFindsPrefixesAccentsAndTypos(t *testing.T) {
	t.Parallel()
	c := embedded(t)
	for question, want := range map[string]string{
		"the mother": "The Mother", "THE MOTH": "The Mother", "nigth agent": "The Night Agent: Season 1", "wednesdya": "Wednesday: Season 1",
		"extracton 2": "Extraction 2", "t00002": "Murder Mystery 2", "pokemon journeys": "Pokémon Journeys: The Series: Season 1",
		"POKÉMON JOURN": "Pokémon Journeys: The Series: Season 1", "글로리": "The Glory: Season 1 // 더 글로리: 시즌 1",
		"t00003-s01e04": "The Night Agent, season 1, episode 4", "agent  NIGHT,": "The Night Agent: Season 1",
	} {
		hits, total := c.Search(question, 0, 5)
		if total == 0 || hits[0].Name != want {
			t.Errorf("%q finds %d, first %+v, want %q", question, total, first(hits), want)
		}
	}
	for _, nonsense := range []string{"xyzzyplugh", "?!", "t00003-s01e99", strings.Repeat("x", 5000), "\xff"} {
		if hits, total := c.Search(nonsense, 0, 5); total != 0 || len(hits) != 0 {
			t.Errorf("%.20q finds %v", nonsense, hits)
		}
	}
	if hits, total := c.Search("", 0, 3); total != 9122 || len(hits) != 3 || hits[0].Weight < hits[2].Weight {
		t.Errorf("no question finds %d: %v", total, hits)
	}
	if hits, total := c.Search("love", -5, -5); total == 0 || len(hits) != 0 {
		t.Errorf("a page of -5 titles has %d", len(hits))
	}
	one, total := c.Search("love", 0, 3)
	two, _ := c.Search("love", 3, 3)
	if total < 6 || len(one) != 3 || len(two) != 3 || one[2].ID == two[0].ID {
		t.Errorf("paging: %d in all, %v then %v", total, one, two)
	}
}

func TestPagesOfASearchAreTheWholeOfIt(t *testing.T) {
	t.Parallel()
	c := embedded(t)
	for _, question := range []string{"star", "t00002", "the", ""} {
		whole, total := c.Search(question, 0, 100_000)
		if len(whole) != total {
			t.Errorf("%q: %d of %d on one page", question, len(whole), total)
		}
		var paged []string
		for from := 0; from < total; from += 97 {
			page, again := c.Search(question, from, 97)
			if again != total {
				t.Errorf("%q: %d, and then %d in all", question, total, again)
			}
			for _, title := range page {
				paged = append(paged, title.ID)
			}
		}
		if !slices.EqualFunc(whole, paged, func(title domain.Title, id string) bool { return title.ID == id }) {
			t.Errorf("%q: the pages differ from the whole", question)
		}
		if unique := slices.Compact(slices.Sorted(slices.Values(paged))); len(unique) != total {
			t.Errorf("%q: %d different titles of %d", question, len(unique), total)
		}
	}
}

func read(t *testing.T, file string) *catalogue.Catalogue {
	t.Helper()
	c, bad, err := catalogue.Read([]byte(file))
	if err != nil || len(bad) > 0 {
		t.Fatal(err, bad)
	}
	return c
}

// FuzzRead: whatever the file, it is refused, or every title in it can be found, listed and drawn.
func FuzzRead(f *testing.F) {
	f.Add([]byte(header + "a1,Good,movie,2020-01-01,90 min,PG,Action|Drama,Finland,English,true,false,10,5\n"))
	f.Add([]byte(header + "a9,\"Long: Season 2 // Ò\",series,2020,2 Seasons,TV-Y,,,,false,,,\n\"x"))
	f.Add([]byte("title_id,title,kind,studio,windows\nw,W,movie,s,DE+AT@2026-01-01..|*@..2030-01-01\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		c, bad, err := catalogue.Read(file)
		for _, b := range bad {
			if b.Line < 1 || b.Reason == "" || strings.Contains(b.Reason, "\n") {
				t.Fatalf("a bad row is reported as %+v", b)
			}
		}
		if err != nil {
			return
		}
		movies, series, episodes := c.Counts()
		rows, playables := 0, 0
		for title := range c.All {
			rows++
			if again, ok := c.Title(title.ID); !ok || again.Name != title.Name || title.Studio == "" || len(title.Windows) == 0 || !utf8.ValidString(title.Name) {
				t.Fatalf("%+v is %+v when looked up", title, again)
			}
		}
		for title := range c.Playables() {
			playables++
			if again, ok := c.Title(title.ID); !ok || again.Name != title.Name {
				t.Fatalf("%+v is %+v when looked up", title, again)
			}
		}
		if rows != movies+series || playables != movies+episodes {
			t.Fatalf("%d rows and %d playables of %d movies and %d series with %d episodes", rows, playables, movies, series, episodes)
		}
		if title := c.Pick(rand.New(rand.NewPCG(1, 2))); !title.Playable() {
			t.Fatalf("drew %+v", title)
		}
	})
}

func first(titles []domain.Title) string {
	if len(titles) == 0 {
		return "nothing"
	}
	return titles[0].Name
}

func BenchmarkEmbedded(b *testing.B) {
	for b.Loop() {
		if _, err := catalogue.Embedded(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSearch(b *testing.B) {
	c, err := catalogue.Embedded()
	if err != nil {
		b.Fatal(err)
	}
	c.Search("x", 0, 1)
	for b.Loop() {
		c.Search("nigth agen", 0, 10)
	}
}
