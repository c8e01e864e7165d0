package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"carryon/projector"
	"carryon/query"
)

// servers answer in the place of real ones.
type servers struct {
	mu       sync.Mutex
	requests int
	items    []string // names of documents, as they came
	refuse   func(request int, body []byte) int
	item     func(request int, id string) int
	seen     http.Header
}

func (s *servers) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	s.requests++
	s.seen = r.Header
	if s.refuse != nil {
		if status := s.refuse(s.requests, body); status != 0 {
			return answerOf(status, `{"error": {"type": "es_rejected_execution_exception", "reason": "queue is full"}}`), nil
		}
	}
	var items []string
	failed := false
	for line := range bytes.Lines(body) {
		var action map[string]struct {
			ID string `json:"_id"`
		}
		if json.Unmarshal(line, &action) != nil || action["index"].ID == "" {
			continue
		}
		id, status := action["index"].ID, 201
		if s.item != nil {
			status = s.item(s.requests, id)
		}
		s.items = append(s.items, id)
		failed = failed || status >= 300
		items = append(items, fmt.Sprintf(`{"index": {"status": %d, "error": {"type": "t", "reason": "why %s"}}}`, status, id))
	}
	return answerOf(200, fmt.Sprintf(`{"errors": %t, "items": [%s]}`, failed, strings.Join(items, ","))), nil
}

func answerOf(status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{"X-Elastic-Product": {"Elasticsearch"}, "Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)),
	}
}

func clientOf(t *testing.T, s *servers) *Client {
	t.Helper()
	c, err := Open(Config{Addresses: []string{"http://nowhere:9200"}, transport: s})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func someWrites(ids ...string) []write {
	var writes []write
	for _, id := range ids {
		writes = append(writes, write{id: id, version: 1, source: map[string]string{"of": id}})
	}
	return writes
}

func TestOnlyWhatTheServersAreTooBusyForIsSentAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &servers{item: func(request int, id string) int {
			if id == "b" && request < 4 {
				return http.StatusTooManyRequests
			}
			return http.StatusCreated
		}}
		found, err := clientOf(t, s).bulk(t.Context(), "i", someWrites("a", "b", "c"))
		if err != nil || len(found) != 0 {
			t.Fatalf("%v, %v", found, err)
		}
		if got := strings.Join(s.items, ""); got != "abcbbb" {
			t.Errorf("sent: %s", got)
		}
	})
}

func TestAnItemThatIsRefusedIsNamedAndTheOthersAreWritten(t *testing.T) {
	t.Parallel()
	s := &servers{item: func(_ int, id string) int {
		return map[string]int{"a": 201, "b": http.StatusBadRequest, "c": http.StatusConflict}[id]
	}}
	found, err := clientOf(t, s).bulk(t.Context(), "i", someWrites("a", "b", "c"))
	if err != nil || len(found) != 1 || found[0].at != 1 || !strings.Contains(found[0].reason, "why b") {
		t.Fatalf("refused: %+v, %v", found, err)
	}
}

func TestBusyServersAreAskedAgainWithinTheTimeThereIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		busyFor := 3
		s := &servers{refuse: func(request int, _ []byte) int {
			if request <= busyFor {
				return http.StatusTooManyRequests
			}
			return 0
		}}
		c := clientOf(t, s)
		if _, err := c.bulk(t.Context(), "i", someWrites("a")); err != nil || s.requests != 4 {
			t.Fatalf("%d requests: %v", s.requests, err)
		}
		busyFor = 1 << 30
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		_, err := c.bulk(ctx, "i", someWrites("a"))
		if err == nil || time.Since(began) > 3*time.Second {
			t.Fatalf("after %s: %v", time.Since(began), err)
		}
		began = time.Now()
		_, err = c.bulk(t.Context(), "i", someWrites("a"))
		if took := time.Since(began); !errors.Is(err, projector.ErrTransient) || took > c.cfg.Patience || took < c.cfg.Patience/2 {
			t.Fatalf("after %s: %v", took, err)
		}
	})
}

func TestABulkThatIsTooLargeForTheServersIsSentInParts(t *testing.T) {
	t.Parallel()
	s := &servers{refuse: func(_ int, body []byte) int {
		if bytes.Count(body, []byte("\n")) > 4 || bytes.Contains(body, []byte(`"huge"`)) {
			return http.StatusRequestEntityTooLarge
		}
		return 0
	}}
	found, err := clientOf(t, s).bulk(t.Context(), "i", someWrites("a", "b", "c", "huge", "e", "f", "g"))
	if err != nil || len(found) != 1 || found[0].at != 3 || len(s.items) != 6 {
		t.Fatalf("refused: %+v, written: %v: %v", found, s.items, err)
	}
}

func TestWritesArePartedByBytesAndByNumber(t *testing.T) {
	t.Parallel()
	s := &servers{}
	c, err := Open(Config{Addresses: []string{"http://nowhere:9200"}, transport: s, BulkEach: 10, BulkBytes: minBulkBytes})
	if err != nil {
		t.Fatal(err)
	}
	var writes []write
	for i := range 25 {
		writes = append(writes, write{id: fmt.Sprint(i), source: "x"})
	}
	writes = append(writes, write{id: "big", source: strings.Repeat("x", minBulkBytes)})
	chunks, err := c.chunks(writes)
	if err != nil || len(chunks) < 3 {
		t.Fatalf("%d parts: %v", len(chunks), err)
	}
	next := 0
	for _, chunk := range chunks {
		for i, at := range chunk.at {
			if at != next || !bytes.Contains(chunk.text[i], []byte(`"_id":"`+writes[at].id+`"`)) {
				t.Fatalf("write %d comes as %s", next, chunk.text[i][:40])
			}
			next++
		}
		if len(chunk.at) > 13 {
			t.Errorf("%d writes in one part", len(chunk.at))
		}
	}
	if next != len(writes) {
		t.Errorf("%d of %d writes are sent", next, len(writes))
	}
}

func TestAPasswordIsReadFromItsFileAnewNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "key")
		write := func(key string) {
			if err := os.WriteFile(path, []byte(key+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("first")
		s := &servers{}
		c, err := Open(Config{Addresses: []string{"http://nowhere:9200"}, transport: s, APIKeyFile: path})
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"first", "second"} {
			if err := c.call(t.Context(), http.MethodGet, "/", nil, nil); err != nil || s.seen.Get("Authorization") != "ApiKey "+want {
				t.Fatalf("%s: %v", s.seen.Get("Authorization"), err)
			}
			write("second")
			time.Sleep(2 * secretFor) //nolint:forbidigo // the clock is the test's own
		}
	})
}

func TestHitsThatWereCountedAreNotCountedAgainForFacets(t *testing.T) {
	t.Parallel()
	s := &servers{}
	search := NewSearch(clientOf(t, s), 1, []int{1})
	if err := search.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	for total, want := range map[int64]int{0: 2, 20: 1, 21: 2} { // count, moment of the oldest, facets
		before := s.requests
		if _, err := search.Facets(t.Context(), query.SearchAsked{Total: total}, []string{"type"}, 20); err != nil {
			t.Fatal(err)
		}
		if got := s.requests - before; got != want {
			t.Errorf("%d hits were counted: %d requests, want %d", total, got, want)
		}
	}
}
