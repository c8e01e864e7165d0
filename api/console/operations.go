package console

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"

	"carryon/api/web"
	"carryon/domain"
	"carryon/query"
)

// Operations: how far the read models are, what waits and may be tried again, what the process depends on, and which
// versions each process decides and answers with.

type operationsView struct {
	Models       []modelView
	Health       health
	Policy       query.PolicyVersionAnswer
	Published    []query.TimelineEvent // the newest versions of the policies, with who and why
	Titles       int
	Processes    []processView
	Ago          float64 // since the processes were looked at, in seconds
	Apart        int     // processes that use another version than the others
	Retried      string
	RetriedWords string
	Flow, Stay   string // of a whole model
}

type modelView struct {
	query.Projection
	Lag     float64 // of the shard that is furthest behind
	Entries uint64
	Stopped string
	Unknown string // why it is not known how far behind it is
	Streams []query.ParkedStream
	More    bool // than are shown
}

// Rebuilding tells whether a rebuild is under way.
func (m modelView) Rebuilding() bool { return m.Rebuild != nil && m.Rebuild.Ended == nil }

// Share is how much of a rebuild is done, as a percentage: of filling, or of its audit's stage.
func (m modelView) Share() int64 {
	r := m.Rebuild
	if r.StageTotal > 0 {
		return min(100, 100*r.StageDone/r.StageTotal)
	}
	if r.EntriesTotal == 0 {
		return 0
	}
	return int64(min(100, 100*r.EntriesDone/r.EntriesTotal)) //nolint:gosec // at most 100
}

type processView struct{ query.Process }

// IsApart tells whether it has another version of something than the others.
func (p processView) IsApart(what string) bool { return slices.Contains(p.Apart, what) }

type health struct {
	Status string `json:"status"`
	Reason string `json:"reason"`
	Checks []struct {
		Name     string `json:"name"`
		OK       bool   `json:"ok"`
		Optional bool   `json:"optional"`
		Costs    string `json:"costs"`
		TookMS   int64  `json:"took_ms"`
	} `json:"checks"`
}

func (v *visit) operations() error {
	q := v.r.URL.Query()
	view := operationsView{Retried: q.Get("retried"), RetriedWords: q.Get("flows"), Flow: q.Get("flow"), Stay: q.Get("stay")}
	answer, err := get[query.ListProjectionsAnswer](v, "/v1/projections", nil)
	if err != nil {
		return err
	}
	for _, p := range answer.Projections {
		m := modelView{Projection: p}
		for _, s := range p.Shards {
			m.Lag, m.Entries, m.Stopped = max(m.Lag, s.LagSeconds), m.Entries+s.LagEntries, cmp.Or(m.Stopped, s.Stopped)
			m.Unknown = cmp.Or(m.Unknown, s.Unknown)
		}
		if p.Parked > 0 && (frame{Who: v.who}).Operator() {
			parked, err := get[query.ListParkedAnswer](v, path("/v1/projections/", p.Name, "/parked"), nil)
			if err != nil {
				return err
			}
			m.Streams, m.More = parked.Parked, parked.NextCursor != ""
		}
		view.Models = append(view.Models, m)
	}
	if view.Health, err = v.health(); err != nil {
		return err
	}
	if view.Policy, err = get[query.PolicyVersionAnswer](v, "/v1/policies/default/versions/current", nil); err != nil {
		return err
	}
	processes, err := get[query.ListProcessesAnswer](v, "/v1/processes", nil)
	if err != nil {
		return err
	}
	view.Ago = processes.ReadSecondsAgo
	for _, p := range processes.Processes {
		view.Processes = append(view.Processes, processView{p})
		if len(p.Apart) > 0 {
			view.Apart++
		}
	}
	titles, err := get[query.TitlesAnswer](v, "/v1/titles", url.Values{"limit": {"1"}})
	if err != nil {
		return err
	}
	view.Titles = titles.Total
	if (frame{Who: v.who}).Customers() {
		for _, policy := range []string{domain.PolicyDefault, domain.PolicyDeviceTypes} {
			// The page is there for when something is away: what can't be told is left out.
			if told, err := get[query.CommonTimelineAnswer](v, path("/v1/policies/", policy, "/timeline"), nil); err == nil {
				view.Published = append(view.Published, told.Events[:min(len(told.Events), 5)]...)
			}
		}
	}
	return v.show("operations", frame{Title: "Operations", Section: "operations"}, view)
}

// health asks as a load balancer does: an answer that is not good is an answer, too.
func (v *visit) health() (health, error) {
	var h health
	r, err := http.NewRequestWithContext(v.r.Context(), http.MethodGet, "http://console.invalid/readyz", nil)
	if err != nil {
		return h, web.New(web.Internal, "").Because(err)
	}
	response, err := v.console.o.Queries.RoundTrip(r)
	if err != nil {
		return h, web.New(web.Unavailable, "the health of the process can't be read").Because(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&h); err != nil {
		return h, web.New(web.Unavailable, "the health of the process can't be read").Because(err)
	}
	return h, nil
}

// retry lets a parked stream flow again.
func (v *visit) retry() error {
	stream := v.r.PostForm.Get("stream")
	done, err := ask[query.RetryParkedAnswer](v, v.console.o.Queries, request{
		method: http.MethodPost, path: path("/v1/projections/", v.r.PathValue("name"), "/parked/", stream, "/retry"),
	})
	if err != nil {
		return err
	}
	words := "stays"
	if done.Flows {
		words = "flows"
	}
	return v.back("/operations?" + url.Values{"retried": {stream}, "flows": {words}}.Encode())
}

// retryAll lets every parked stream of a read model flow again.
func (v *visit) retryAll() error {
	model := v.r.PathValue("name")
	done, err := ask[query.RetryAllParkedAnswer](v, v.console.o.Queries, request{
		method: http.MethodPost, path: path("/v1/projections/", model, "/parked/retry"),
	})
	if err != nil {
		return err
	}
	return v.back("/operations?" + url.Values{"retried": {model}, "flow": {number(done.Flow)}, "stay": {number(done.Stay)}}.Encode())
}

// rebuild begins a rebuild of a read model, or says how to go on with it.
func (v *visit) rebuild() error {
	_, err := ask[query.RebuildModelAnswer](v, v.console.o.Queries, request{
		method: http.MethodPost, path: path("/v1/projections/", v.r.PathValue("name"), "/rebuild"),
		body: map[string]string{"action": cmp.Or(v.r.PostForm.Get("action"), "start")},
	})
	if err != nil {
		return err
	}
	return v.back("/operations")
}
