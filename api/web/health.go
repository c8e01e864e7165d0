package web

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Alive is whoever answers. Ready is whoever has been started, is not shutting down, and reaches what it can't do
// without; of what it can do without, the answer says what is missing and what that costs.

// Check is one thing that the process depends on.
type Check struct {
	Name     string // as in "log" or "read model search"
	Costs    string // what is lost while it is away, in plain words
	Optional bool   // without it the process is still ready
	Probe    func(ctx context.Context) error
}

// Health is how the process is. The zero Health has no dependencies and is not ready until SetReady.
type Health struct {
	Checks []Check
	serves atomic.Bool
}

const probePatience = time.Second

// SetReady says that the process takes requests now.
func (h *Health) SetReady() { h.serves.Store(true) }

// SetNotReady says that the process is about to stop.
func (h *Health) SetNotReady() { h.serves.Store(false) }

type (
	healthAnswer struct {
		Status string        `json:"status"` // ready, degraded, not ready
		Reason string        `json:"reason,omitempty"`
		Checks []checkAnswer `json:"checks"`
	}
	checkAnswer struct {
		Name     string `json:"name"`
		OK       bool   `json:"ok"`
		Optional bool   `json:"optional,omitempty"`
		Costs    string `json:"costs,omitempty"` // only while it is away
		TookMS   int64  `json:"took_ms"`
	}
)

func (h *Health) live(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
}

func (h *Health) ready(log *slog.Logger) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer, errs := h.Examine(r.Context())
		for name, err := range errs {
			log.LogAttrs(r.Context(), slog.LevelWarn, "a dependency is away", slog.String("dependency", name), slog.String("error", err.Error()))
		}
		status := http.StatusOK
		if answer.Status == "not ready" {
			w.Header().Set("Retry-After", "1")
			status = http.StatusServiceUnavailable
		}
		writeJSON(w, status, answer)
	}
}

// Examine looks at every dependency at once. What they fail with is for the log only.
func (h *Health) Examine(ctx context.Context) (healthAnswer, map[string]error) {
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	answer := healthAnswer{Status: "ready", Checks: make([]checkAnswer, len(h.Checks))}
	failed := make([]error, len(h.Checks))
	var probes sync.WaitGroup
	for i, c := range h.Checks {
		probes.Go(func() {
			begin := time.Now()
			failed[i] = c.Probe(ctx)
			answer.Checks[i] = checkAnswer{Name: c.Name, OK: failed[i] == nil, Optional: c.Optional, TookMS: time.Since(begin).Milliseconds()}
		})
	}
	probes.Wait()
	errs := map[string]error{}
	for i, c := range h.Checks {
		if failed[i] == nil {
			continue
		}
		errs[c.Name] = failed[i]
		answer.Checks[i].Costs = c.Costs
		if !c.Optional {
			answer.Status, answer.Reason = "not ready", "something that is needed is away"
		} else if answer.Status == "ready" {
			answer.Status = "degraded"
		}
	}
	if !h.serves.Load() {
		answer.Status, answer.Reason = "not ready", "starting or shutting down"
	}
	return answer, errs
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the caller may have gone
}
