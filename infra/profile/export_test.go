package profile

import (
	"bytes"
	"io"
	"testing"

	"carryon/api/simulate"
	"carryon/domain"
	"carryon/query"
)

func TestEveryTableIsWrittenInEveryFormat(t *testing.T) {
	t.Parallel()
	s := openTest(t, t.TempDir())
	defer s.Close(t.Context())
	titles := catalogueFiles{s.catalogue}
	if _, err := simulate.Run(t.Context(), simulate.Handlers{App: s.Commands()}, simulate.Options{
		Seed: 9, Households: 30, Prefix: "h", Callers: 8, Commands: 1500, Patience: 3, Titles: titles, Lookup: titles.Title,
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.CatchUp(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for _, role := range []domain.Role{domain.RoleOperator, domain.RoleAnalyst} {
		for _, table := range query.Tables() {
			if role == domain.RoleAnalyst && (table == "timeline" || table == "exceptions") {
				continue
			}
			export := func(write func(query.Exported, io.Writer) (int64, error)) int64 {
				e, err := s.Queries().Export.Handle(t.Context(), query.Export{By: query.Caller{Actor: domain.Actor{ID: "x", Role: role}}, Table: table})
				if err != nil {
					t.Fatal(table, err)
				}
				var out bytes.Buffer
				n, err := write(e, &out)
				if err != nil {
					t.Fatalf("%s as %s: %v", table, role, err)
				}
				return n
			}
			csv := export(func(e query.Exported, w io.Writer) (int64, error) { return e.WriteCSV(w, nil) })
			ndjson := export(func(e query.Exported, w io.Writer) (int64, error) { return e.WriteNDJSON(w, nil) })
			parquet := export(func(e query.Exported, w io.Writer) (int64, error) { return e.WriteParquet(w, nil) })
			if csv == 0 && table != "exceptions" || csv != ndjson || csv != parquet {
				t.Errorf("%s as %s: %d rows of CSV, %d of NDJSON, %d of Parquet", table, role, csv, ndjson, parquet)
			}
		}
	}
}
