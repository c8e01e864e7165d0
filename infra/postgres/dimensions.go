package postgres

import (
	"context"
	"slices"

	"carryon/infra/tables"
	"carryon/projector"
)

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
		n = tables.Number(tables.DimensionValues(d)...)
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
	columns := make([][]string, len(tables.DimensionValues(&fresh[0])))
	numbers := make([]int64, len(fresh))
	for i := range fresh {
		numbers[i] = c.numbers[fresh[i]]
		for j, value := range tables.DimensionValues(&fresh[i]) {
			columns[j] = append(columns[j], value)
		}
	}
	args := []any{numbers}
	for _, column := range columns {
		args = append(args, column)
	}
	return t.write(ctx, addDimensions, args...)
}
