package catalogue

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
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

var origins = map[string]string{
	"United States": "US", "India": "IN", "United Kingdom": "GB", "Canada": "CA", "Japan": "JP", "France": "FR", "South Korea": "KR",
	"Spain": "ES", "Mexico": "MX", "Australia": "AU", "Turkey": "TR", "Germany": "DE", "Brazil": "BR", "Italy": "IT", "Nigeria": "NG",
	"Egypt": "EG", "Indonesia": "ID", "Poland": "PL", "Argentina": "AR", "Colombia": "CO", "Thailand": "TH", "Taiwan": "TW",
}

// fixed is the moment that windows are derived around: no clock is read, so a catalogue has one content.
var fixed = time.Date(2026, time.June, 1, 0, 0, 0, 0, time.UTC)

func windowsOf(id, origin, global string) []domain.Window {
	n := draw("window", id, 100)
	switch {
	case global == "true":
		return []domain.Window{{}}
	case global == "false":
		return []domain.Window{{Countries: someCountries(id, origins[origin], 85)}}
	case n < 8:
		return []domain.Window{{Countries: someCountries(id, origins[origin], 35)}}
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
	for _, c := range markets {
		if c == origin || draw("country "+c, id, 100) < percent {
			some = append(some, c)
		}
	}
	if len(some) == 0 {
		some = []string{"US"}
	}
	return some
}

func halves(id string) (first, second []string) {
	for _, c := range markets {
		if draw("half "+c, id, 2) == 0 {
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

var season = regexp.MustCompile(`^(.*): (?:Season (\d{1,2})|Limited Series)\b`)

// work is the name of a title without its season and its second name, and the number of the season it names, or 0.
func work(name string) (string, int) {
	first, _, _ := strings.Cut(name, " // ")
	m := season.FindStringSubmatch(first)
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

// EpisodeID names an episode of a series.
func EpisodeID(series string, season, episode int) string {
	return fmt.Sprintf("%s-s%02de%02d", series, season, episode)
}

var episodeID = regexp.MustCompile(`^(.+)-s(\d{2})e(\d{2})$`)

// repair undoes UTF-8 that was read as Mac Roman, in the second name behind " // ".
func repair(name string) string {
	first, second, ok := strings.Cut(name, " // ")
	if !ok {
		return name
	}
	raw, err := charmap.Macintosh.NewEncoder().String(second)
	if err != nil || !utf8.ValidString(raw) || raw == second || !slices.ContainsFunc([]rune(raw), func(r rune) bool { return r > 0x7f }) {
		return name
	}
	return first + " // " + raw
}
