package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strconv"

	"carryon/projector"
)

// Combinations of dimensions are kept once, under the first 63 bits of a hash of them, so that writing needs no look-up.
// Of a million combinations two share a number with a probability of 1 in 18 million.

func numberOf(parts ...string) int64 {
	h := sha256.New()
	var length [binary.MaxVarintLen64]byte
	for _, p := range parts {
		h.Write(length[:binary.PutUvarint(length[:], uint64(len(p)))])
		h.Write([]byte(p))
	}
	var sum [sha256.Size]byte
	return int64(binary.BigEndian.Uint64(h.Sum(sum[:0])) >> 1)
}

// numberOrZero is 0 for an empty value.
func numberOrZero(value string) int64 {
	if value == "" {
		return 0
	}
	return numberOf(value)
}

func dimensionValues(d *projector.Dimensions) []string {
	return []string{
		d.TitleID, d.Series, d.Studio, d.Plan, d.Country, d.DeviceType, d.DeviceFamily, d.Trigger, d.Code, d.Basis, d.Role, strconv.Itoa(d.PolicyVersion),
	}
}

const dimensionColumns = "d.title, d.series, d.studio, d.plan, d.country, d.device_type, d.device_family, d.trigger_, d.code, d.basis, d.role, d.policy_version"

// scanDimensions are where to scan dimensionColumns into; the policy version is text there.
func scanDimensions(d *projector.Dimensions, policy *string) []any {
	return []any{
		&d.TitleID, &d.Series, &d.Studio, &d.Plan, &d.Country, &d.DeviceType, &d.DeviceFamily, &d.Trigger, &d.Code, &d.Basis, &d.Role, policy,
	}
}

// dimensionColumn is the column of a dimension by its public name.
func dimensionColumn(field string) (string, bool) {
	switch field {
	case "title_id":
		return "d.title", true
	case "trigger":
		return "d.trigger_", true
	case "series", "studio", "plan", "country", "device_type", "device_family", "code", "basis", "role", "policy_version":
		return "d." + field, true
	}
	return "", false
}

// Combinations are shared by shards. Whoever adds one that another transaction is about to add waits for that one's
// commit: so all of a transaction are added at its end, in one statement, in order of number, and nobody waits in a
// circle.
var addDimensions = inserting("dimensions", "ORDER BY 1 ON CONFLICT (id) DO NOTHING", "id bigint", "title text", "series text", "studio text", "plan text", "country text",
	"device_type text", "device_family text", "trigger_ text", "code text", "basis text", "role text", "policy_version text")

// combinations are those that a transaction uses.
type combinations struct {
	numbers map[projector.Dimensions]int64
	fresh   []projector.Dimensions // not sent yet
}

func (c *combinations) number(d *projector.Dimensions) int64 {
	n, known := c.numbers[*d]
	if !known {
		n = numberOf(dimensionValues(d)...)
		if c.numbers == nil {
			c.numbers = make(map[projector.Dimensions]int64)
		}
		c.numbers[*d] = n
		c.fresh = append(c.fresh, *d)
	}
	return n
}

// save adds what was not sent yet.
func (c *combinations) save(ctx context.Context, t *tx) error {
	if len(c.fresh) == 0 {
		return nil
	}
	fresh := c.fresh
	c.fresh = nil
	slices.SortFunc(fresh, func(a, b projector.Dimensions) int { return int(min(1, max(-1, c.numbers[a]-c.numbers[b]))) })
	columns := make([][]string, len(dimensionValues(&fresh[0])))
	numbers := make([]int64, len(fresh))
	for i := range fresh {
		numbers[i] = c.numbers[fresh[i]]
		for j, value := range dimensionValues(&fresh[i]) {
			columns[j] = append(columns[j], value)
		}
	}
	args := []any{numbers}
	for _, column := range columns {
		args = append(args, column)
	}
	return t.write(ctx, addDimensions, args...)
}
