// Package tables is what the read models in SQLite and those in Postgres have in common: how rows are told apart, and how
// they are told in an audit. Statements are each store's own.
package tables

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"carryon/domain"
	"carryon/projector"
)

// Number is the first 63 bits of a hash of values. Under it long values that repeat are kept once, so that writing needs
// no look-up. Of a million values two share a number with a probability of 1 in 18 million.
func Number(parts ...string) int64 {
	h := sha256.New()
	var length [binary.MaxVarintLen64]byte
	for _, p := range parts {
		h.Write(length[:binary.PutUvarint(length[:], uint64(len(p)))])
		h.Write([]byte(p))
	}
	var sum [sha256.Size]byte
	return int64(binary.BigEndian.Uint64(h.Sum(sum[:0])) >> 1)
}

// NumberOrZero is 0 when the last value is empty.
func NumberOrZero(parts ...string) int64 {
	if parts[len(parts)-1] == "" {
		return 0
	}
	return Number(parts...)
}

// NumberKind is that of names which stand for a number that rows have in a stream's place.
const NumberKind = "number"

// NumberName is the name that stands for a number.
func NumberName(n int64) domain.StreamID {
	return domain.StreamID(NumberKind + "/" + strconv.FormatInt(n, 10))
}

// Numbered tells which number a name stands for.
func Numbered(name domain.StreamID) (n int64, is bool) {
	text, is := strings.CutPrefix(string(name), NumberKind+"/")
	if !is {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// AnalyticsNames are the names under which the analytics have rows of a stream: its own, and the number that a customer's
// facts have.
func AnalyticsNames(stream domain.StreamID) []domain.StreamID {
	if stream.Kind() != domain.KindCustomer {
		return []domain.StreamID{stream}
	}
	return []domain.StreamID{stream, NumberName(Number(stream.ID()))}
}

// MetricNumber is how a metric is kept. The numbers never change.
func MetricNumber(metric string) (int16, error) {
	switch metric {
	case projector.MetricDownloads:
		return 1, nil
	case projector.MetricRenewals:
		return 2, nil
	case projector.MetricPlays:
		return 3, nil
	case projector.MetricDenials:
		return 4, nil
	case projector.MetricActive:
		return 5, nil
	}
	return 0, fmt.Errorf("there is no metric %q", metric)
}

// FactLines are facts as an audit tells them: metric, quarter, seq, device, licence, actor, dimensions.
func FactLines(facts []projector.Fact) ([]string, error) {
	lines := make([]string, len(facts))
	for i := range facts {
		f := &facts[i]
		metric, err := MetricNumber(f.Metric)
		if err != nil {
			return nil, err
		}
		lines[i] = projector.Line(append([]any{
			metric, projector.Quarter(f.At).Unix(), f.Seq, NumberOrZero(f.DeviceID), NumberOrZero(f.LicenseID), NumberOrZero(f.ActorID),
		}, f.Dimensions.Columns()...)...)
	}
	return lines, nil
}

// SumsDiffer says in words which roll-ups are not the sum of what they count.
func SumsDiffer(lines []string) []string {
	words := make([]string, len(lines))
	for i, line := range lines {
		words[i] = "a roll-up is not the sum of what it counts (metric, quarter, dimensions, roll-up, sum): " + line
	}
	return words
}
