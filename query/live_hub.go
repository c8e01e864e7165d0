package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// The hub tells events to those who listen. It is awake only while somebody does: then it takes the entries that are
// offered to it, in order, fills what is missing from the log, evaluates each filter once for all who gave the same, and
// hands matches to queues. It never waits for a reader: whose queue is full is told so and dropped, and can continue
// where he was. When the hub itself falls far behind, it leaves events out and says which.

// Hub is the live stream of one process.
type Hub struct {
	log     projector.Log
	shards  []int
	filters LiveFilters
	ports   *Ports
	logger  *slog.Logger

	poll    time.Duration
	offered chan *domain.Entry
	active  atomic.Int64 // listeners

	mu     sync.Mutex
	feed   *feed // nil while nobody listens
	closed bool
	all    sync.WaitGroup // goroutines of feeds
}

const (
	hubQueue   = 256         // entries that may wait; what does not fit is read from the log
	hubPoll    = time.Second // between looks at the log, where entries are offered
	hubPage    = 1 << 20     // bytes of one reading
	hubBehind  = 5000        // entries that the hub may be behind before it leaves some out
	hubPatient = 10 * time.Second
)

// NewHub makes the live stream over a log. Poll is the time between looks at the log: short where nothing is offered;
// 0: a second.
func NewHub(log projector.Log, shards []int, filters LiveFilters, logger *slog.Logger, poll time.Duration) *Hub {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	h := &Hub{log: log, shards: shards, filters: filters, logger: logger, offered: make(chan *domain.Entry, hubQueue)}
	h.poll = poll
	return h
}

// Offer tells of an entry that was recorded. It never blocks, and costs one look at a number while nobody listens.
func (h *Hub) Offer(e *domain.Entry) {
	if h.active.Load() == 0 {
		return
	}
	select {
	case h.offered <- e:
	default:
	}
}

// Listeners counts those who listen.
func (h *Hub) Listeners() int64 { return h.active.Load() }

// Close ends all streams, with a notice, and waits for what the hub runs.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	if h.feed != nil {
		h.feed.end(noticeClosing)
		h.feed = nil
	}
	h.mu.Unlock()
	h.all.Wait()
}

// feed is the hub while somebody listens.
type feed struct {
	hub    *Hub
	cancel context.CancelFunc

	mu     sync.Mutex
	last   map[int]uint64 // entries told, by shard
	groups map[groupKey]*group
	order  []*group
	over   bool
}

// groupKey: who gave the same filter and sees the same is asked for once.
type groupKey struct {
	filter string
	veiled bool
}

type group struct {
	key       groupKey
	filter    LiveFilter // nil: everything
	listeners map[*listener]struct{}
}

type listener struct {
	group     groupKey
	filter    LiveFilter
	fields    []string
	fieldsKey string
	queue     chan told
	why       notice // it was ended; read after queue was closed
}

// told is an item with the place of its event.
type told struct {
	LiveItem
	at domain.Position
}

// notice is why a stream ends, or what it leaves out.
type notice struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

var (
	noticeTooSlow = notice{"TOO_SLOW", "items were not taken fast enough; continue with Last-Event-ID"}
	noticeClosing = notice{"CLOSING", "the server is shutting down; continue with Last-Event-ID"}
	noticeFilter  = notice{"FILTER_FAILED", "the filter could not be evaluated within its cost limit"}
)

func (n notice) item(id string) LiveItem {
	data, err := json.Marshal(n)
	if err != nil {
		data = []byte(`{}`) // two texts can be written
	}
	return LiveItem{Kind: LiveNotice, ID: id, Data: data}
}

// heads are the tails of the shards now.
func (h *Hub) heads(ctx context.Context) (map[int]uint64, error) {
	heads := make(map[int]uint64, len(h.shards))
	for _, shard := range h.shards {
		head, err := h.log.Head(ctx, shard)
		if err != nil {
			return nil, fmt.Errorf("where the log ends: %w: %w", ErrUnavailable, err)
		}
		heads[shard] = head.Index
	}
	return heads, nil
}

// near tells whether a stream may be continued from there.
func (h *Hub) near(ctx context.Context, after place) error {
	heads, err := h.heads(ctx)
	if err != nil {
		return err
	}
	for shard, head := range heads {
		if at := after[shard].Index; head > at && head-at > MaxLiveBehind {
			return fieldError("Last-Event-ID", "is %d entries of shard %d ago, a stream can be continued over %d: search or export what is older", head-at, shard, MaxLiveBehind)
		}
	}
	return nil
}

// join lets a listener listen, and answers from where on he is told.
func (h *Hub) join(ctx context.Context, l *listener) (*feed, map[int]uint64, error) {
	if h.active.Add(1) > MaxLiveListeners {
		h.active.Add(-1)
		return nil, nil, fmt.Errorf("%d listen already, more are not served here: %w", MaxLiveListeners, ErrUnavailable)
	}
	f, err := h.awake(ctx)
	if err != nil {
		h.active.Add(-1)
		return nil, nil, err
	}
	from, ok := f.add(l)
	if !ok { // it ended in between
		h.active.Add(-1)
		return nil, nil, fmt.Errorf("the live stream is closing: %w", ErrUnavailable)
	}
	return f, from, nil
}

// awake is the feed, begun if there is none.
func (h *Hub) awake(ctx context.Context) (*feed, error) {
	h.mu.Lock()
	f, closed := h.feed, h.closed
	h.mu.Unlock()
	if f != nil || closed {
		return f, h.closing(closed)
	}
	heads, err := h.heads(ctx)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, h.closing(true)
	}
	if h.feed == nil {
		running, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f := &feed{hub: h, cancel: cancel, last: heads, groups: map[groupKey]*group{}}
		h.feed = f
		h.all.Go(func() { f.run(running) })
	}
	return h.feed, nil
}

func (h *Hub) closing(closed bool) error {
	if !closed {
		return nil
	}
	return fmt.Errorf("the live stream is closing: %w", ErrUnavailable)
}

// leave ends a listening. The last one puts the hub to sleep.
func (h *Hub) leave(f *feed, l *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.active.Add(-1)
	if f.remove(l) == 0 && h.feed == f {
		f.end(noticeClosing)
		h.feed = nil
	}
}

func (f *feed) add(l *listener) (map[int]uint64, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return nil, false
	}
	g := f.groups[l.group]
	if g == nil {
		g = &group{key: l.group, filter: l.filter, listeners: map[*listener]struct{}{}}
		f.groups[l.group] = g
		f.order = append(f.order, g)
	}
	g.listeners[l] = struct{}{}
	from := make(map[int]uint64, len(f.last))
	for shard, index := range f.last {
		from[shard] = index
	}
	return from, true
}

// remove answers how many still listen.
func (f *feed) remove(l *listener) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if g := f.groups[l.group]; g != nil {
		delete(g.listeners, l)
		if len(g.listeners) == 0 {
			f.forget(g)
		}
	}
	n := 0
	for _, g := range f.order {
		n += len(g.listeners)
	}
	return n
}

func (f *feed) forget(g *group) {
	delete(f.groups, g.key)
	kept := f.order[:0]
	for _, other := range f.order {
		if other != g {
			kept = append(kept, other)
		}
	}
	clear(f.order[len(kept):])
	f.order = kept
}

// end lets nobody listen any more.
func (f *feed) end(why notice) {
	f.cancel()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	for _, g := range f.order {
		for l := range g.listeners {
			f.dismiss(g, l, why)
		}
	}
}

func (f *feed) dismiss(g *group, l *listener, why notice) {
	delete(g.listeners, l)
	l.why = why
	close(l.queue)
}

// run takes entries until the feed ends.
func (f *feed) run(ctx context.Context) {
	poll := f.hub.poll
	if poll == 0 {
		poll = hubPoll
	}
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case e := <-f.hub.offered:
			err = f.take(ctx, e)
		case <-ticker.C:
			err = f.look(ctx)
		}
		if err != nil && ctx.Err() == nil {
			f.hub.logger.Warn("the live stream can't read the log and tries again", "error", err)
		}
	}
}

// take tells an entry that was offered, after those before it that were not.
func (f *feed) take(ctx context.Context, e *domain.Entry) error {
	f.mu.Lock()
	last, known := f.last[e.Shard]
	f.mu.Unlock()
	switch {
	case !known || e.Index <= last:
		return nil
	case e.Index > last+1:
		return f.follow(ctx, e.Shard)
	}
	f.tell(e)
	return nil
}

// look reads what was not offered.
func (f *feed) look(ctx context.Context) error {
	var errs []error
	for _, shard := range f.hub.shards {
		errs = append(errs, f.follow(ctx, shard))
	}
	return errors.Join(errs...)
}

// follow tells what the log of a shard holds beyond what was told, or leaves it out where that is too much.
func (f *feed) follow(ctx context.Context, shard int) error {
	for pages := 0; ctx.Err() == nil; pages++ {
		f.mu.Lock()
		from := f.last[shard] + 1
		f.mu.Unlock()
		within, cancel := context.WithTimeout(ctx, hubPatient)
		entries, err := f.hub.log.Read(within, shard, from, hubPage)
		cancel()
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			return nil
		}
		for i := range entries {
			f.tell(&entries[i])
		}
		if pages > 0 && pages%4 == 0 {
			if err := f.skipIfFar(ctx, shard); err != nil {
				return err
			}
		}
	}
	return nil
}

// skipIfFar leaves events out when the hub can't keep up.
func (f *feed) skipIfFar(ctx context.Context, shard int) error {
	head, err := f.hub.log.Head(ctx, shard)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	last := f.last[shard]
	if head.Index <= last+hubBehind {
		return nil
	}
	f.last[shard] = head.Index
	skipped := notice{"LEFT_OUT", fmt.Sprintf("more was recorded than could be filtered: entries %d to %d of shard %d are left out", last+1, head.Index, shard)}
	for _, g := range f.order {
		item := told{LiveItem: skipped.item(f.hub.id(f.where(), g.key.veiled))}
		for l := range g.listeners {
			f.hand(g, l, item)
		}
	}
	return nil
}

// where is what was told, of all shards.
func (f *feed) where() place {
	p := make(place, len(f.last))
	for shard, index := range f.last {
		p[shard] = livePosition{index, wholeEntry}
	}
	return p
}

// A few filters are evaluated here; many are spread over the processors.
const filtersAtOnce = 64

// tell tells an entry to all whose filter its events pass.
func (f *feed) tell(e *domain.Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.last[e.Shard] = e.Index }()
	if len(f.order) == 0 {
		return
	}
	for i := range e.Events {
		document, err := projector.DocumentOf(&e.Events[i])
		if err != nil {
			continue // an event from a newer program; the read models say so
		}
		at := e.Events[i].Position
		where := func() place {
			p := f.where()
			p[at.Shard] = livePosition{at.Index, at.Place}
			return p
		}
		f.tellEvent(&document, at, where)
	}
}

func (f *feed) tellEvent(document *projector.Document, at domain.Position, where func() place) {
	chunks := min(runtime.GOMAXPROCS(0), 1+len(f.order)/filtersAtOnce)
	verdicts := make([]verdict, len(f.order))
	var group sync.WaitGroup
	for c := range chunks {
		judge := func() {
			r := rendering{hub: f.hub, event: document, where: where}
			for i := c; i < len(f.order); i += chunks {
				verdicts[i] = f.order[i].judge(&r)
			}
		}
		if c == chunks-1 {
			judge()
		} else {
			group.Go(judge)
		}
	}
	group.Wait()
	r := rendering{hub: f.hub, event: document, where: where}
	for i, g := range f.order {
		switch verdicts[i] {
		case passes:
			for l := range g.listeners {
				item := LiveItem{Kind: LiveEvent, ID: r.id(g.key.veiled), Data: r.body(g.key.veiled, l.fields, l.fieldsKey)}
				f.hand(g, l, told{item, at})
			}
		case fails:
			for l := range g.listeners {
				f.dismiss(g, l, noticeFilter)
			}
		}
	}
}

type verdict uint8

const (
	leaves verdict = iota
	passes
	fails
)

func (g *group) judge(r *rendering) verdict {
	if len(g.listeners) == 0 {
		return leaves
	}
	if g.filter == nil {
		return passes
	}
	hit := r.hit(g.key.veiled)
	match, err := g.filter.Match(func(name string) any {
		if field := liveField(name); field != nil {
			return field.of(hit)
		}
		return nil
	})
	switch {
	case err != nil:
		return fails
	case match:
		return passes
	}
	return leaves
}

// beat gives a listener a sign of life, in its place among the items: whoever continues from it has not to go back to
// the last event that passed his filter.
func (f *feed) beat(l *listener) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.groups[l.group]
	if g == nil {
		return
	}
	if _, listens := g.listeners[l]; listens {
		f.hand(g, l, told{LiveItem: LiveItem{Kind: LiveBeat, ID: f.hub.id(f.where(), g.key.veiled)}})
	}
}

// hand gives an item to a listener, or dismisses him when he does not take what he was given.
func (f *feed) hand(g *group, l *listener, item told) {
	select {
	case l.queue <- item:
	default:
		f.dismiss(g, l, noticeTooSlow)
	}
}

func (h *Hub) id(at place, veiled bool) string {
	id, err := h.ports.Cursors.seal(liveQuestion{veiled}, at)
	if err != nil {
		return "" // numbers can be written
	}
	return id
}

// run is a LiveRun.
func (s *liveStream) run(ctx context.Context, send func(LiveItem) error) error {
	if s.after != nil {
		if err := s.readOn(ctx, nil, send); err != nil {
			return err
		}
	}
	f, from, err := s.hub.join(ctx, s.listener)
	if err != nil {
		return err
	}
	defer s.hub.leave(f, s.listener)
	at := make(place, len(from))
	for shard, index := range from {
		at[shard] = livePosition{index, wholeEntry}
	}
	if s.after == nil {
		s.after = at
	} else if err := s.readOn(ctx, from, send); err != nil { // what was recorded between reading and joining
		return err
	}
	if err := send(LiveItem{Kind: LiveBeat, ID: s.id()}); err != nil {
		return err
	}
	return s.listen(ctx, f, send)
}

func (s *liveStream) id() string { return s.hub.id(s.after, s.listener.group.veiled) }

func (s *liveStream) listen(ctx context.Context, f *feed, send func(LiveItem) error) error {
	beat := time.NewTicker(liveBeat)
	defer beat.Stop()
	last, quiet := s.id(), true
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case item, open := <-s.listener.queue:
			if !open {
				return send(s.listener.why.item(last))
			}
			if item.Kind == LiveEvent && s.after.tells(item.at) {
				continue
			}
			if err := send(item.LiveItem); err != nil {
				return err
			}
			last, quiet = item.ID, item.Kind == LiveBeat
		case <-beat.C:
			if quiet {
				f.beat(s.listener)
			}
			quiet = true
		}
	}
}

// readOn tells from the log what follows on the place, up to some entries, or to the tails.
func (s *liveStream) readOn(ctx context.Context, upTo map[int]uint64, send func(LiveItem) error) error {
	for _, shard := range s.hub.shards {
		told, known := s.after[shard]
		from := told.Index
		if !known || told.Place == wholeEntry {
			from++
		}
		for {
			limit, bounded := upTo[shard]
			if bounded && from > limit {
				break
			}
			entries, err := s.hub.log.Read(ctx, shard, max(from, 1), hubPage)
			if err != nil {
				return fmt.Errorf("reading on: %w: %w", ErrUnavailable, err)
			}
			if len(entries) == 0 {
				break
			}
			for i := range entries {
				if bounded && entries[i].Index > limit {
					break
				}
				if err := s.tellEntry(&entries[i], send); err != nil {
					return err
				}
			}
			from = entries[len(entries)-1].Index + 1
		}
	}
	return nil
}

func (s *liveStream) tellEntry(e *domain.Entry, send func(LiveItem) error) error {
	g := group{key: s.listener.group, filter: s.listener.filter, listeners: map[*listener]struct{}{s.listener: {}}}
	for i := range e.Events {
		at := e.Events[i].Position
		if s.after.tells(at) {
			continue
		}
		s.after[at.Shard] = livePosition{at.Index, at.Place}
		document, err := projector.DocumentOf(&e.Events[i])
		if err != nil {
			continue
		}
		r := rendering{hub: s.hub, event: &document, where: func() place { return s.after }}
		switch g.judge(&r) {
		case passes:
			item := LiveItem{Kind: LiveEvent, ID: r.id(g.key.veiled), Data: r.body(g.key.veiled, s.listener.fields, s.listener.fieldsKey)}
			if err := send(item); err != nil {
				return err
			}
		case fails:
			return errors.Join(send(noticeFilter.item(s.id())), errFilterFailed)
		}
	}
	s.after[e.Shard] = livePosition{e.Index, wholeEntry}
	return nil
}

var errFilterFailed = errors.New("the filter failed")
