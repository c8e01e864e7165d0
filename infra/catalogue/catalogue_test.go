package catalogue_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

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

func TestNamesReadWithTheWrongAlphabetAreRepaired(t *testing.T) {
	t.Parallel()
	c := embedded(t)
	found := false
	for title := range c.All {
		if strings.HasPrefix(title.Name, "The Glory: Season 1 //") {
			found = true
			if !strings.Contains(title.Name, "더 글로리") {
				t.Errorf("still %q", title.Name)
			}
		}
		if strings.HasPrefix(title.Name, "Fake Profile: Season 1 //") && !strings.Contains(title.Name, "Perfil falso") {
			t.Errorf("a good name was changed: %q", title.Name)
		}
	}
	if !found {
		t.Error("The Glory is missing")
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
		"a9,Also good,series,2020,2 Seasons,TV-Y,,,,,,,\n"
	c, bad, err := catalogue.Read([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	want := map[int]string{3: "title_id is missing", 4: "title is empty", 5: `kind is "opera"`, 6: `views is "-3"`, 7: "stands twice", 8: "has 3 columns", 9: `available_globally is "perhaps"`, 10: "looks like the id of an episode", 11: "not valid UTF-8"}
	if len(bad) != len(want) {
		t.Errorf("%d bad rows, want %d: %v", len(bad), len(want), bad)
	}
	for _, b := range bad {
		if !strings.Contains(b.Reason, want[b.Line]) || want[b.Line] == "" {
			t.Errorf("line %d: %q, want %q", b.Line, b.Reason, want[b.Line])
		}
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
	c, bad, err := s.Import(context.Background(), strings.NewReader(header+"x1,One,movie,,,,,,,,,,\n"))
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
	for name, file := range map[string]string{"empty": "", "no rows": header, "only bad": header + "x,,movie,,,,,,,,,,\n", "wrong header": "id,name\n1,2\n", "unknown column": strings.TrimSpace(header) + ",colour\n"} {
		if _, _, err := s.Import(context.Background(), strings.NewReader(file)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if s.Current().Version() != before {
		t.Error("the catalogue changed")
	}
}

func TestSearchFindsPrefixesAccentsAndTypos(t *testing.T) {
	t.Parallel()
	c := embedded(t)
	for question, want := range map[string]string{
		"the mother": "The Mother", "THE MOTH": "The Mother", "nigth agent": "The Night Agent: Season 1", "wednesdya": "Wednesday: Season 1",
		"extracton 2": "Extraction 2", "t00002": "Murder Mystery 2",
	} {
		hits, total := c.Search(question, 0, 5)
		if total == 0 || hits[0].Name != want {
			t.Errorf("%q finds %d, first %+v, want %q", question, total, first(hits), want)
		}
	}
	if hits, total := c.Search("xyzzyplugh", 0, 5); total != 0 {
		t.Errorf("nonsense finds %v", hits)
	}
	one, total := c.Search("love", 0, 3)
	two, _ := c.Search("love", 3, 3)
	if total < 6 || len(one) != 3 || len(two) != 3 || one[2].ID == two[0].ID {
		t.Errorf("paging: %d in all, %v then %v", total, one, two)
	}
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
