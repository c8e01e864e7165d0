package query

import (
	"context"
	"iter"

	"carryon/domain"
)

// Export asks for every row of a table, streamed: memory stays flat, whatever the number of rows.
type Export struct {
	By     Caller
	Table  string // timeline, denials, events, licenses, devices, customers
	Filter Filter
}

// Row is one row of an export, in the order of the table's columns.
type Row []any // string, int64, float64, bool, time.Time, nil

// Exported is a table on its way out. Rows must be ranged over once; an error ends it.
type Exported struct {
	Columns []string
	Rows    iter.Seq2[Row, error]
}

// ExportAsked is what an export asks of a read model that it walks through.
type ExportAsked struct {
	Filter      Filter
	AfterStream domain.StreamID // continue behind this row; empty: from the beginning
	AfterSeq    uint64
	Limit       int
}

// ExportHandler answers Export.
type ExportHandler struct{ p *Ports }

// Handle begins an export. WriteCSV and WriteNDJSON print it.
func (h ExportHandler) Handle(ctx context.Context, q Export) (Exported, error) {
	return Exported{}, ErrUnavailable
}
