package simulate

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"carryon/domain"
)

func TestWhatHadNoAnswerIsAskedAgain(t *testing.T) {
	t.Parallel()
	token := func(domain.Role, string) (string, error) { return "token", nil }
	for _, c := range []struct {
		patience, want int64
		wrong          string
	}{{0, 1, "there is no answer"}, {1, 2, "there is no answer"}, {2, 3, ""}, {9, 3, ""}} {
		var asked atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch asked.Add(1) {
			case 1:
				panic(http.ErrAbortHandler) // the connection is cut
			case 2:
				http.Error(w, "it lags", http.StatusServiceUnavailable)
			default:
				fmt.Fprint(w, `{"events":[{"seq":1},{"seq":2}]}`)
			}
		}))
		defer server.Close()
		target := NewHTTP([]string{server.URL}, "", 1, token)
		target.Patience = int(c.patience)
		seen, err := target.CheckVisible(t.Context(), &Report{Latest: map[string]uint64{"c-1": 2}}, nil)
		if got := asked.Load(); got != c.want || (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) || err == nil && seen != 2 {
			t.Errorf("with patience %d: asked %d times, %d events, %v", c.patience, got, seen, err)
		}
	}
}

func TestAnAnswerThatSaysNoIsNotAskedForAgain(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Error(w, "not you", http.StatusForbidden)
	}))
	defer server.Close()
	target := NewHTTP([]string{server.URL}, "", 1, func(domain.Role, string) (string, error) { return "token", nil })
	target.Patience = 5
	if _, err := target.CheckVisible(t.Context(), &Report{Latest: map[string]uint64{"c-1": 2}}, nil); err == nil || asked.Load() != 1 {
		t.Errorf("asked %d times: %v", asked.Load(), err)
	}
}
