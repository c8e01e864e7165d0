package readmodel

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
)

func TestAStatementIsNotClosedUnderTheHandsOfWhoRunsIt(t *testing.T) {
	t.Parallel()
	f, err := openFile(t.Context(), filepath.Join(t.TempDir(), "x.db"), schema{Model: "x", Version: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var group sync.WaitGroup
	for n := range 8 {
		random := rand.New(rand.NewPCG(1, uint64(n)))
		group.Go(func() {
			for range 3000 {
				text := fmt.Sprintf("SELECT count(*) FROM parked WHERE %d = 0", random.IntN(maxPrepared+60))
				if err := f.each(t.Context(), text, nil, func(r *sql.Rows) error { var n int; return r.Scan(&n) }); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}
