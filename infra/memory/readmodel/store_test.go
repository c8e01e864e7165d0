package readmodel_test

import (
	"context"
	"encoding/json"
	"testing"

	"carryon/domain"
	"carryon/infra/conformance"
	"carryon/infra/memory/readmodel"
)

func TestConsumerKeepsItsContractOverTheMemoryStore(t *testing.T) {
	t.Parallel()
	conformance.Consumer(t, func(testing.TB) conformance.ConsumerSubject[*readmodel.Tx] {
		store := readmodel.New()
		return conformance.ConsumerSubject[*readmodel.Tx]{Store: store, Rows: rows{store}}
	})
}

// rows keeps the suite's rows as JSON.
type rows struct{ store *readmodel.Store }

func (rows) Row(_ context.Context, tx *readmodel.Tx, stream domain.StreamID) (row conformance.ConsumerRow, err error) {
	if value, found := tx.Get("counting", string(stream)); found {
		err = json.Unmarshal(value, &row)
	}
	return row, err
}

func (rows) SetRow(_ context.Context, tx *readmodel.Tx, row conformance.ConsumerRow) error {
	value, err := json.Marshal(row)
	if err == nil {
		tx.Put("counting", string(row.Stream), value)
	}
	return err
}

func (r rows) All(context.Context) (all []conformance.ConsumerRow, err error) {
	for _, value := range r.store.Table("counting") {
		var row conformance.ConsumerRow
		if err := json.Unmarshal(value, &row); err != nil {
			return nil, err
		}
		all = append(all, row)
	}
	return all, nil
}
