package profile

import (
	"bytes"
	"encoding/json"
	"errors"
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

func TestEverythingThatIsHeldAboutACustomerIsOneDocument(t *testing.T) {
	t.Parallel()
	s := openTest(t, t.TempDir())
	defer s.Close(t.Context())
	titles := catalogueFiles{s.catalogue}
	if _, err := simulate.Run(t.Context(), simulate.Handlers{App: s.Commands()}, simulate.Options{
		Seed: 11, Households: 3, Prefix: "h", Callers: 4, Commands: 900, Patience: 3, Titles: titles, Lookup: titles.Title,
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.CatchUp(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	support := query.Caller{Actor: domain.Actor{ID: "sue", Role: domain.RoleSupport}, RequestID: "r1"}
	write, err := s.Queries().AccessExport.Handle(t.Context(), query.AccessExport{By: support, Customer: "h00001"})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := write(&out); err != nil {
		t.Fatal(err)
	}
	var document struct {
		Version  uint64 `json:"version"`
		Devices  []any  `json:"devices"`
		Licenses []any  `json:"licenses"`
		Timeline []struct {
			Seq uint64 `json:"seq"`
		} `json:"timeline"`
		LookedAt []struct {
			What  string       `json:"what"`
			Actor domain.Actor `json:"actor"`
		} `json:"looked_at"`
	}
	if err := json.Unmarshal(out.Bytes(), &document); err != nil {
		t.Fatalf("%v: %.300s", err, out.String())
	}
	if n := len(document.Timeline); n <= query.MaxPageSize || document.Timeline[n-1].Seq != document.Version || len(document.Devices) == 0 || len(document.Licenses) == 0 {
		t.Errorf("%d events, version %d, %d devices, %d licences", n, document.Version, len(document.Devices), len(document.Licenses))
	}
	if len(document.LookedAt) != 1 || document.LookedAt[0].What != "access export" || document.LookedAt[0].Actor.ID != "sue" {
		t.Errorf("looks: %+v", document.LookedAt)
	}
	if _, err := s.Queries().AccessExport.Handle(t.Context(), query.AccessExport{By: support, Customer: "nobody"}); !errors.Is(err, domain.ErrNotFound) {
		t.Errorf("of nobody: %v", err)
	}
}
