package catalogue

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"carryon/domain"
)

// What the file does not say is derived from the id and the row, and from nothing else: see README.md.

// draw is a number in [0, n) that depends on what is drawn for whom.
func draw(what, id string, n uint64) uint64 {
	sum := sha256.Sum256([]byte(what + "\x00" + id))
	return binary.BigEndian.Uint64(sum[:8]) % n
}

// chances are many numbers that depend on what is drawn for whom.
func chances(what, id string) *rand.ChaCha8 {
	return rand.NewChaCha8(sha256.Sum256([]byte(what + "\x00" + id)))
}

// studioOf shares the works out among the studios of the default policy.
func studioOf(work string, original bool) string {
	if original {
		return "house"
	}
	shares := []struct {
		studio string
		share  uint64
	}{{"aurora", 18}, {"borealis", 16}, {"cinder", 13}, {"dovetail", 12}, {"ember", 10}, {"foxglove", 11}, {"granite", 10}, {"house", 10}}
	n := draw("studio", work, 100)
	for _, s := range shares {
		if n < s.share {
			return s.studio
		}
		n -= s.share
	}
	return "house"
}

// markets are the countries that derived windows know.
var markets = []string{
	"AR", "AT", "AU", "BE", "BR", "CA", "CH", "CL", "CO", "CZ", "DE", "DK", "EG", "ES", "FI", "FR", "GB", "GR", "HK", "HU",
	"ID", "IE", "IL", "IN", "IT", "JP", "KR", "MX", "MY", "NG", "NL", "NO", "NZ", "PE", "PH", "PL", "PT", "RO", "SA", "SE",
	"SG", "TH", "TR", "TW", "US", "VN", "ZA",
}

// origins are the markets by the names that the file calls them. A title of several countries is of the first.
var origins = map[string]string{
	"Argentina": "AR", "Austria": "AT", "Australia": "AU", "Belgium": "BE", "Brazil": "BR", "Canada": "CA", "Switzerland": "CH",
	"Chile": "CL", "Colombia": "CO", "Czech Republic": "CZ", "Germany": "DE", "West Germany": "DE", "Denmark": "DK", "Egypt": "EG",
	"Spain": "ES", "Finland": "FI", "France": "FR", "United Kingdom": "GB", "Greece": "GR", "Hong Kong": "HK", "Hungary": "HU",
	"Indonesia": "ID", "Ireland": "IE", "Israel": "IL", "India": "IN", "Italy": "IT", "Japan": "JP", "South Korea": "KR", "Korea": "KR",
	"Mexico": "MX", "Malaysia": "MY", "Nigeria": "NG", "Netherlands": "NL", "Norway": "NO", "New Zealand": "NZ", "Peru": "PE",
	"Philippines": "PH", "Poland": "PL", "Portugal": "PT", "Romania": "RO", "Saudi Arabia": "SA", "Sweden": "SE", "Singapore": "SG",
	"Thailand": "TH", "Turkey": "TR", "Taiwan": "TW", "United States": "US", "Vietnam": "VN", "South Africa": "ZA",
}

func originOf(countries string) string {
	first, _, _ := strings.Cut(countries, ",")
	return origins[strings.TrimSpace(first)]
}

// fixed is the moment that windows are derived around: no clock is read, so a catalogue has one content.
var fixed = time.Date(2026, time.June, 1, 0, 0, 0, 0, time.UTC)

func windowsOf(id, origin, global string) []domain.Window {
	n := draw("window", id, 100)
	switch {
	case global == "true":
		return []domain.Window{{}}
	case global == "false":
		return []domain.Window{{Countries: someCountries(id, originOf(origin), 85)}}
	case n < 8:
		return []domain.Window{{Countries: someCountries(id, originOf(origin), 35)}}
	case n < 15: // ended
		return []domain.Window{{To: fixed.AddDate(0, 0, -int(draw("ended", id, 700)))}}
	case n < 18: // ends
		return []domain.Window{{To: fixed.AddDate(0, 0, 30+int(draw("ends", id, 700)))}}
	case n < 20: // begins
		return []domain.Window{{From: fixed.AddDate(0, 0, int(draw("begins", id, 700)))}}
	case n < 23: // one half of the world until a day, the other from then on
		turn := fixed.AddDate(0, 0, int(draw("turn", id, 600))-300)
		first, second := halves(id)
		return []domain.Window{{Countries: first, To: turn}, {Countries: second, From: turn}}
	}
	return []domain.Window{{}}
}

// someCountries are the country of origin and of the others about so many in a hundred.
func someCountries(id, origin string, percent uint64) []string {
	var some []string
	chance := chances("countries", id)
	for _, c := range markets {
		if drawn := chance.Uint64()%100 < percent; drawn || c == origin {
			some = append(some, c)
		}
	}
	if len(some) == 0 {
		some = []string{"US"}
	}
	return some
}

func halves(id string) (first, second []string) {
	chance := chances("half", id)
	for _, c := range markets {
		if chance.Uint64()%2 == 0 {
			first = append(first, c)
		} else {
			second = append(second, c)
		}
	}
	return first, second
}

func regionRuleOf(id string) string {
	switch n := draw("region", id, 16); {
	case n < 2:
		return domain.RegionHome
	case n == 2:
		return domain.RegionIssue
	}
	return domain.RegionCurrent
}

func maturityOf(rating string) string {
	switch rating {
	case "TV-Y", "TV-Y7", "TV-Y7-FV", "TV-G", "G", "PG", "TV-PG":
		return domain.MaturityKids
	case "PG-13", "TV-14":
		return domain.MaturityTeen
	}
	return domain.MaturityAdult
}

// weightOf is the popularity: published views, or a place in the long tail.
func weightOf(id string, views int64) float64 {
	if views > 0 {
		return float64(views)
	}
	return 2_000_000 / (1 + float64(draw("rank", id, 9000))/40)
}

var seasonNamed = regexp.MustCompile(`^(.*): (?:(?:Season|Part|Chapter|Volume|Book|Temporada) (\d{1,2})|Limited Series)\b`)

// work is the name of a title without its season and its second name, and the number of the season that a series
// names, or 0.
func work(name, kind string) (string, int) {
	first, _, _ := strings.Cut(name, " // ")
	if kind != domain.KindSeries || !strings.Contains(first, ": ") {
		return first, 0
	}
	m := seasonNamed.FindStringSubmatch(first)
	if m == nil {
		return first, 0
	}
	if m[2] == "" {
		return m[1], 1
	}
	n, err := strconv.Atoi(m[2])
	if err != nil || n < 1 {
		return first, 0
	}
	return m[1], n
}

// seasonsOf lists the seasons of a row of kind series.
func seasonsOf(named int, duration string) []int {
	if named > 0 {
		return []int{named}
	}
	count := 1
	if n, _, ok := strings.Cut(duration, " Season"); ok {
		if parsed, err := strconv.Atoi(n); err == nil && parsed >= 1 && parsed <= 60 {
			count = parsed
		}
	}
	seasons := make([]int, count)
	for i := range seasons {
		seasons[i] = i + 1
	}
	return seasons
}

// episodesOf is how many episodes a season has.
func episodesOf(id string, season int) int {
	return 6 + int(draw("episodes "+strconv.Itoa(season), id, 7)) //nolint:gosec // less than 7
}

// ratingOf is a rating as published; in a few rows a running time stands in its place.
func ratingOf(text string) string {
	if strings.HasSuffix(text, " min") {
		return ""
	}
	return text
}

// repair undoes UTF-8 that was read as Mac Roman, in a name and in the second name behind " // ": they came from
// different hands. What is right already is no valid UTF-8 when it is taken back, and stays.
func repair(name string) string {
	if isASCII(name) {
		return name
	}
	first, second, two := strings.Cut(name, " // ")
	if !two {
		return repaired(name)
	}
	return repaired(first) + " // " + repaired(second)
}

func repaired(name string) string {
	if isASCII(name) {
		return name
	}
	raw, err := charmap.Macintosh.NewEncoder().String(name)
	if err != nil || !utf8.ValidString(raw) {
		return name
	}
	return raw
}

func isASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
