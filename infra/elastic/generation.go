package elastic

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"carryon/projector"
	"carryon/query"
)

// The search is built anew as another generation, in an index beside the one that is read:
// <prefix>-search-v<version>-<generation>. A document in the index <prefix>-control says which generation is read; it is
// changed on the condition that nobody has changed it meanwhile. The alias <prefix>-search-v<version> follows it, for
// those who look into the indices with other programs. Whoever is killed at any moment leaves at worst a generation that
// nobody reads.

//go:embed mappings
var mappings embed.FS

// design is what a model's documents are made like. Documents of another version are in other indices, so that programs
// of two versions do not disturb each other: each builds its own from the log.
type design struct {
	model   string
	version int // raised whenever the meaning of documents, or their mapping, changes
	mapping json.RawMessage
}

var searchDesign = design{model: "search", version: 2, mapping: mustRead("mappings/search.json")}

func mustRead(name string) json.RawMessage {
	data, err := mappings.ReadFile(name)
	if err != nil {
		panic(err) // it is compiled in
	}
	return data
}

// Generations are the generations of one model, in one version of its documents.
type Generations struct {
	c      *Client
	design design
	name   string // of alias and template; the indices' names begin with it
}

var _ projector.Generations = Generations{}

func generationsOf(c *Client, d design) Generations {
	return Generations{c: c, design: d, name: c.cfg.Prefix + "-" + d.model + "-v" + strconv.Itoa(d.version)}
}

// Generations are those of the search.
func (c *Client) Generations() Generations { return generationsOf(c, searchDesign) }

// Index is where a generation's documents are.
func (g Generations) Index(generation int) string { return fmt.Sprintf("%s-%06d", g.name, generation) }

// Alias is the name under which other programs find the generation that is read.
func (g Generations) Alias() string { return g.name }

func (g Generations) control() string { return g.c.cfg.Prefix + "-control" }

func (g Generations) failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s of read model %s: %w", what, g.design.model, storeError(err))
}

// prepare makes the template, which indices are made from, and the index that says which of them is read.
func (g Generations) prepare(ctx context.Context) error {
	if _, is := g.c.prepared.Load(g.name); is {
		return nil
	}
	if err := g.putTemplate(ctx); err != nil {
		return err
	}
	err := g.c.call(ctx, http.MethodPut, "/"+g.control(), map[string]any{
		"settings": map[string]any{"number_of_shards": 1, "number_of_replicas": *g.c.cfg.Replicas},
		"mappings": map[string]any{"dynamic": "strict", "properties": map[string]any{"state": map[string]any{"type": "object", "enabled": false}}},
	}, nil)
	if err != nil && !says(err, indexIsThere) {
		return err
	}
	if err := g.c.started(ctx, g.control()); err != nil { // somebody may be making it in this moment
		return err
	}
	g.c.prepared.Store(g.name, true)
	return nil
}

// putTemplate makes the template or brings it up to date. Indices are never made by being written to: a generation that
// was dropped must not come back.
func (g Generations) putTemplate(ctx context.Context) error {
	return g.c.call(ctx, http.MethodPut, "/_index_template/"+g.name, map[string]any{
		"index_patterns": []string{g.name + "-*"}, "priority": 500, "version": g.design.version, "allow_auto_create": false,
		"template": map[string]any{
			"settings": map[string]any{
				"number_of_shards": g.c.cfg.Primaries, "number_of_replicas": *g.c.cfg.Replicas,
				"refresh_interval":  fmt.Sprintf("%dms", g.c.cfg.RefreshInterval.Milliseconds()),
				"max_result_window": query.FacetBound + 1, "translog.durability": "request",
			},
			"mappings": g.design.mapping,
		},
	}, nil)
}

// kept is a document of the control index, and its place in the order of its changes.
type kept[S any] struct {
	Found  bool  `json:"found"`
	SeqNo  int64 `json:"_seq_no"`
	Term   int64 `json:"_primary_term"`
	Source struct {
		State S `json:"state"`
	} `json:"_source"`
}

// stated is how such a document is written.
type stated struct {
	Own   string `json:"own,omitempty"`
	State any    `json:"state"`
}

// look reads such a document as it is, whether it was refreshed or not. One that is not there is not found.
func look[S any](ctx context.Context, c *Client, index, id string) (kept[S], error) {
	var k kept[S]
	err := c.call(ctx, http.MethodGet, "/"+index+"/_doc/"+url.PathEscape(id), nil, &k)
	if answer, ok := errors.AsType[*answerError](err); ok && answer.Status == http.StatusNotFound && answer.Type != noSuchIndex {
		return kept[S]{}, nil
	}
	return k, err
}

// change writes a document on the condition that it is still what was looked at. It returns a conflict when it is not,
// and else the document's place in the order of changes, but without what was written.
func (k *kept[S]) change(ctx context.Context, c *Client, index, id string, to stated) (kept[S], error) {
	path := "/" + index + "/_doc/" + url.PathEscape(id) + k.condition("op_type=create")
	next := kept[S]{Found: true}
	err := c.call(ctx, http.MethodPut, path, to, &next)
	return next, err
}

// remove removes a document on that condition.
func (k *kept[S]) remove(ctx context.Context, c *Client, index, id string) error {
	return c.call(ctx, http.MethodDelete, "/"+index+"/_doc/"+url.PathEscape(id)+k.condition(""), nil, nil)
}

func (k *kept[S]) condition(absent string) string {
	if !k.Found {
		return "?" + absent
	}
	return fmt.Sprintf("?if_seq_no=%d&if_primary_term=%d", k.SeqNo, k.Term)
}

// reading is which generation is read, and which newer ones were dropped: those never will be, and their numbers are not
// given again. Both are changed in one document, on condition, so that nobody drops what is being promoted.
type reading struct {
	Generation int   `json:"generation"`
	Dropped    []int `json:"dropped,omitempty"`
}

func (g Generations) readingID() string { return "reading/" + g.name }

func (g Generations) current(ctx context.Context) (kept[reading], int, error) {
	k, err := look[reading](ctx, g.c, g.control(), g.readingID())
	if says(err, noSuchIndex) {
		return k, 1, nil
	}
	if err != nil || !k.Found {
		return k, 1, err
	}
	return k, k.Source.State.Generation, nil
}

// Current is the generation that is read: 1 until another was promoted.
func (g Generations) Current(ctx context.Context) (int, error) {
	_, n, err := g.current(ctx)
	return n, g.failed("the current generation", err)
}

// List are the generations that there are, in order.
func (g Generations) List(ctx context.Context) ([]int, error) {
	var indices map[string]any
	if err := g.c.call(ctx, http.MethodGet, "/"+g.name+"-*?filter_path=*.settings.index.uuid&expand_wildcards=all", nil, &indices); err != nil {
		return nil, g.failed("the generations", err)
	}
	var list []int
	for index := range indices {
		n, err := strconv.Atoi(strings.TrimPrefix(index, g.name+"-"))
		if err == nil && g.Index(n) == index {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list, nil
}

// Create begins the generation behind the newest one.
func (g Generations) Create(ctx context.Context) (int, error) {
	if err := g.prepare(ctx); err != nil {
		return 0, g.failed("a new generation", err)
	}
	k, current, err := g.current(ctx)
	if err != nil {
		return 0, g.failed("a new generation", err)
	}
	list, err := g.List(ctx)
	if err != nil {
		return 0, err
	}
	for n := slices.Max(slices.Concat(list, k.Source.State.Dropped, []int{current})) + 1; ; n++ {
		made, err := g.make(ctx, n)
		if err != nil {
			return 0, g.failed("a new generation", err)
		}
		if made {
			return n, nil
		}
	}
}

// make makes a generation's index, and tells whether it was not there.
func (g Generations) make(ctx context.Context, generation int) (bool, error) {
	err := g.c.call(ctx, http.MethodPut, "/"+g.Index(generation), nil, nil)
	if says(err, indexIsThere) {
		return false, nil
	}
	return err == nil, err
}

// PromoteFrom changes which generation is read, and then the alias.
func (g Generations) PromoteFrom(ctx context.Context, from, generation int) (bool, error) {
	what := "promote generation " + strconv.Itoa(generation)
	if err := g.prepare(ctx); err != nil {
		return false, g.failed(what, err)
	}
	k, current, err := g.current(ctx)
	if err != nil || current != from || slices.Contains(k.Source.State.Dropped, generation) {
		return false, g.failed(what, err)
	}
	next := reading{Generation: generation, Dropped: slices.DeleteFunc(k.Source.State.Dropped, func(n int) bool { return n < generation })}
	_, err = k.change(ctx, g.c, g.control(), g.readingID(), stated{State: next})
	if says(err, conflict) {
		return false, nil
	}
	if err != nil {
		return false, g.failed(what, err)
	}
	return true, g.failed(what, g.point(ctx))
}

// point lets the alias follow. Of several who do so at once the last sees what the others did.
func (g Generations) point(ctx context.Context) error {
	for {
		_, n, err := g.current(ctx)
		if err != nil {
			return err
		}
		err = g.c.call(ctx, http.MethodPost, "/_aliases", map[string]any{"actions": []any{
			map[string]any{"remove": map[string]any{"index": g.name + "-*", "alias": g.name, "must_exist": false}},
			map[string]any{"add": map[string]any{"index": g.Index(n), "alias": g.name}},
		}}, nil)
		if says(err, noSuchIndex) { // nothing has been written to it yet; whoever makes it points again
			return nil
		}
		if err != nil {
			return err
		}
		if _, again, err := g.current(ctx); err != nil || again == n {
			return err
		}
	}
}

// Drop removes a generation's index.
func (g Generations) Drop(ctx context.Context, generation int) error {
	what := "drop generation " + strconv.Itoa(generation)
	if err := g.prepare(ctx); err != nil {
		return g.failed(what, err)
	}
	for {
		k, current, err := g.current(ctx)
		if err != nil {
			return g.failed(what, err)
		}
		if current == generation {
			return fmt.Errorf("%s of read model %s: %w", what, g.design.model, projector.ErrCurrent)
		}
		if generation > current && !slices.Contains(k.Source.State.Dropped, generation) {
			next := reading{Generation: current, Dropped: append(k.Source.State.Dropped, generation)}
			_, err := k.change(ctx, g.c, g.control(), g.readingID(), stated{State: next})
			if says(err, conflict) { // somebody promoted or dropped one
				continue
			}
			if err != nil {
				return g.failed(what, err)
			}
		}
		err = g.c.call(ctx, http.MethodDelete, "/"+g.Index(generation), nil, nil)
		if says(err, noSuchIndex) {
			return nil
		}
		return g.failed(what, err)
	}
}

// A claim is a document that its holder renews. One that was not renewed for claimFor is nobody's any more: its holder
// has died, or hangs. Clocks that differ by less than that do no harm; and should two hold it all the same, they build
// two generations, of which one is promoted.
const (
	claimFor   = 30 * time.Second
	claimRenew = claimFor / 6
)

type claim struct {
	By    string    `json:"by"`
	Until time.Time `json:"until"`
}

func (g Generations) claimID() string { return "claim/" + g.name }

// Claim keeps others from building a generation, until release or, after a death, for half a minute.
func (g Generations) Claim(ctx context.Context) (release func(), err error) {
	if err := g.prepare(ctx); err != nil {
		return nil, g.failed("claim the rebuild", err)
	}
	k, err := look[claim](ctx, g.c, g.control(), g.claimID())
	if err != nil {
		return nil, g.failed("claim the rebuild", err)
	}
	if k.Found && time.Now().Before(k.Source.State.Until) {
		return nil, fmt.Errorf("claim the rebuild of read model %s: %w", g.design.model, projector.ErrRebuilding)
	}
	by := randomID()
	err = g.renew(ctx, &k, by)
	if says(err, conflict) {
		return nil, fmt.Errorf("claim the rebuild of read model %s: %w", g.design.model, projector.ErrRebuilding)
	}
	if err != nil {
		return nil, g.failed("claim the rebuild", err)
	}
	holding, stop := context.WithCancel(context.WithoutCancel(ctx))
	var group sync.WaitGroup
	group.Go(func() { g.hold(holding, by) })
	return sync.OnceFunc(func() {
		stop()
		group.Wait()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.c.cfg.RequestTimeout)
		defer cancel()
		if k, err := look[claim](last, g.c, g.control(), g.claimID()); err == nil && k.Found && k.Source.State.By == by {
			_ = k.remove(last, g.c, g.control(), g.claimID()) // else it ends by itself
		}
	}), nil
}

func (g Generations) renew(ctx context.Context, k *kept[claim], by string) error {
	_, err := k.change(ctx, g.c, g.control(), g.claimID(), stated{State: claim{by, time.Now().Add(claimFor)}})
	return err
}

// hold renews a claim until ctx ends or it is somebody else's.
func (g Generations) hold(ctx context.Context, by string) {
	ticker := time.NewTicker(claimRenew)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		k, err := look[claim](ctx, g.c, g.control(), g.claimID())
		if err == nil && (!k.Found || k.Source.State.By != by) {
			return
		}
		if err == nil {
			_ = g.renew(ctx, &k, by) // the next tick tries again
		}
	}
}
