package command

import (
	"fmt"
	"slices"
	"time"

	"carryon/domain"
)

// Streams in memory: loaded when they are first asked for, kept in order of use, and let go when there is no room. What
// is not yet in the histories is kept in memory too, as far as there is room, so that a load need not read it.

// loadRequest is what a load needs to know of the shard when it begins.
type loadRequest struct {
	stream  domain.StreamID
	shard   int
	through uint64          // the head: the load needs to be complete up to here
	recent  []*domain.Entry // contiguous, up to the head; may be empty
}

// loadedStream is what came of a load.
type loadedStream struct {
	folded *folded
	saved  uint64 // seq of the snapshot it began with
}

// eventsRequest asks for events of a stream by seq.
type eventsRequest struct {
	stream    domain.StreamID
	shard     int
	seq       uint64
	count     int
	index     uint64 // the entry that holds them all; 0: not known
	commandID string // only those of that command; empty: all
}

// use finds a stream, or makes room for one. A frozen one is thawed.
func (s *shard) use(id domain.StreamID) *stream {
	st := s.streams[id]
	switch {
	case st == nil:
		st = &stream{id: id}
		s.streams[id] = st
	case st.frozen != nil:
		s.thaw(st)
	case st.in != nil:
		st.in.remove(st)
		s.hot.push(st)
	}
	return st
}

// load begins to load a stream, now or when fewer are being loaded.
func (s *shard) load(st *stream) {
	if st.loading {
		return
	}
	st.loading = true
	s.toLoad = append(s.toLoad, st)
	s.startLoads()
}

func (s *shard) startLoads() {
	for s.opened && len(s.toLoad) > 0 && len(s.loading) < s.cfg.ConcurrentLoads {
		st := s.toLoad[0]
		s.toLoad = s.toLoad[1:]
		if len(st.waiting) == 0 || s.ended != nil { // everyone has gone
			s.forget(st)
			continue
		}
		st.through = s.head.Index
		s.loading = append(s.loading, st)
		wanted := loadRequest{stream: st.id, shard: s.number, through: s.head.Index, recent: s.recent.view()}
		s.do(loadTask{stream: st, wanted: wanted})
	}
}

// forget lets go of a stream that could not be loaded. It stays for as long as somebody has it in hand, in a queue or
// elsewhere: whoever asks for it must get the same one, or two commands would be decided as if the other were not there.
func (s *shard) forget(st *stream) {
	st.loading = false
	s.release(st)
}

// release lets go of a stream that nobody has in hand, and of which nothing is kept.
func (s *shard) release(st *stream) {
	if st.unanswered == 0 && st.in == nil && !st.loading && s.streams[st.id] == st {
		delete(s.streams, st.id)
	}
}

// loaded is told what came of a load. What was claimed meanwhile is folded too, and then the commands that waited can
// be decided.
func (s *shard) loaded(st *stream, through uint64, l loadedStream, err error) {
	s.loading = slices.DeleteFunc(s.loading, func(other *stream) bool { return other == st })
	defer s.startLoads()
	if through != st.through { // it began before a leap
		s.toLoad = append(s.toLoad, st)
		return
	}
	if err == nil {
		err = s.foldSince(through, l.folded, st.id)
		if err != nil && !tooNew(err) && st.reloads < maxReloads { // what was claimed meanwhile is no longer in memory
			st.reloads++
			s.toLoad = append(s.toLoad, st)
			return
		}
	}
	s.figures.loaded(err)
	waiting := st.waiting
	st.waiting, st.loading, st.reloads = nil, false, 0
	if err != nil {
		s.unloadable(st, err)
		for _, p := range waiting {
			s.refuse(p, unreadable(st.id, err))
		}
		return
	}
	st.folded, st.saved = l.folded, l.saved
	s.hot.push(st)
	s.weigh(st)
	s.snapshot(st)
	for _, p := range waiting {
		s.enqueue(p)
	}
}

// unloadable decides what a failed load means: that the shard stops, that the stream stops, or nothing for the next try.
func (s *shard) unloadable(st *stream, err error) {
	switch {
	case tooNew(err) || forgotten(err):
		s.forget(st)
		s.stop(err)
	case unfoldable(err):
		s.spoil(st, err)
		s.hot.push(st)
		s.weigh(st)
	default:
		s.logger.Warn("stream not loaded", "shard", s.number, "error", err.Error())
		s.forget(st)
	}
}

// needed is the first entry that somebody is known to need: who derives, or a load that has begun.
func (s *shard) needed() uint64 {
	needed := s.derived + 1
	for _, st := range s.loading {
		needed = min(needed, st.through+1)
	}
	return needed
}

// foldSince folds what was claimed after a load began.
func (s *shard) foldSince(through uint64, f *folded, id domain.StreamID) error {
	if through >= s.head.Index {
		return nil
	}
	entries := s.recent.from(through + 1)
	if len(entries) == 0 || entries[0].Index != through+1 {
		return fmt.Errorf("loading %s: entry %d is no longer in memory: %w", id, through+1, ErrUnavailable)
	}
	return foldEntries(entries, f, id, s.cfg.KeyKept)
}

// weigh takes note of a stream's size in memory.
func (s *shard) weigh(st *stream) {
	st.in.bytes -= st.bytes
	st.bytes = 512 + len(st.id)
	switch {
	case st.frozen != nil:
		st.bytes += len(st.frozen.data)
	case st.folded != nil:
		st.bytes += st.folded.size()
	}
	st.in.bytes += st.bytes
}

// maxChanged streams wait for being tidied up while every step asks something of the log; more do not.
const maxChanged = 256

// tidy weighs what was settled, has snapshots of it taken and lets go of what has no room. Nobody waits for that, so it
// is done while the store works on a claim, and not before that begins. When memory is full, or much waits, it is done
// at once; and what was settled last by a shard that was closed is tidied up too.
func (s *shard) tidy() {
	hot := s.hot.bytes + s.unweighed
	full := hot > s.cfg.HotBytes || hot+s.cold.bytes > s.cfg.CacheBytes
	switch {
	case !s.opened, s.ended != nil && s.flight == nil && len(s.changed) == 0:
		return
	case s.launched && len(s.changed) <= maxChanged && !full:
		return
	}
	for _, st := range s.changed {
		if st.folded != nil && st.in != nil && st.bad == nil { // it is still here
			s.weigh(st)
			s.snapshot(st)
		}
	}
	clear(s.changed)
	s.changed, s.unweighed = s.changed[:0], 0
	s.evict()
}

// A stream that nobody has asked for lately is frozen: its state is kept as a snapshot would keep it. That is a
// fraction of the size, and one piece of memory without pointers, so that the garbage collector's work follows what is
// busy and not what is kept. Thawing costs a fraction of a load.

// evict freezes the streams that were not used for longest, until the others fit, and lets go of the coldest.
func (s *shard) evict() {
	for st := s.hot.oldest(); st != nil && s.hot.bytes > s.cfg.HotBytes; {
		next := s.hot.after(st)
		if st.unanswered == 0 && st.flight == nil && st.open == nil {
			s.freeze(st)
		}
		st = next
	}
	for st := s.cold.oldest(); st != nil && s.hot.bytes+s.cold.bytes > s.cfg.CacheBytes; st = s.cold.oldest() {
		s.keep(st)
		s.drop(st)
	}
}

func (s *shard) freeze(st *stream) {
	if st.bad != nil {
		s.figures.badStreams.Add(-1)
		s.drop(st)
		return
	}
	picture, ok := s.picture(st)
	if !ok {
		s.drop(st)
		return
	}
	s.hot.remove(st)
	st.frozen, st.folded = picture, nil
	s.cold.push(st)
	s.weigh(st)
}

func (s *shard) thaw(st *stream) {
	s.cold.remove(st)
	f, err := st.frozen.thaw(st.id, &s.folding)
	st.frozen = nil
	if err != nil { // it is loaded, as if it had not been here
		s.logger.Error("state not thawed", "shard", s.number, "error", err.Error())
		st.bytes, st.saved = 0, 0
		return
	}
	st.folded = f
	s.hot.push(st)
	s.weigh(st)
}

// drop lets go of a stream.
func (s *shard) drop(st *stream) {
	st.in.remove(st)
	delete(s.streams, st.id)
}

// ring holds streams in order of use.
type ring struct {
	newest *stream
	bytes  int
}

func (r *ring) oldest() *stream {
	if r.newest == nil {
		return nil
	}
	return r.newest.newer
}

// after is the next newer stream, nil after the newest.
func (r *ring) after(st *stream) *stream {
	if st == r.newest {
		return nil
	}
	return st.newer
}

// push makes a stream the newest.
func (r *ring) push(st *stream) {
	if r.newest == nil {
		st.newer, st.older = st, st
	} else {
		oldest := r.newest.newer
		st.older, st.newer = r.newest, oldest
		r.newest.newer, oldest.older = st, st
	}
	r.newest = st
	r.bytes += st.bytes
	st.in = r
}

func (r *ring) remove(st *stream) {
	if st.newer == st {
		r.newest = nil
	} else {
		st.older.newer, st.newer.older = st.newer, st.older
		if r.newest == st {
			r.newest = st.older
		}
	}
	r.bytes -= st.bytes
	st.newer, st.older, st.in = nil, nil, nil
}

// snapshot has a snapshot of a stream saved, when enough has happened since the last one.
func (s *shard) snapshot(st *stream) {
	if st.folded.seq < st.saved+uint64(s.cfg.SnapshotEvery) {
		return
	}
	picture, ok := s.picture(st)
	st.saved = st.folded.seq // or it would be tried again with each event
	if !ok {
		return
	}
	s.unsaved = append(s.unsaved, picture.snapshot(st.id, s.folding.Version))
	s.save()
}

// keep has a snapshot of a stream saved that leaves memory, unless its next load will have little to fold.
func (s *shard) keep(st *stream) {
	if st.seqKept() < st.saved+uint64(max(1, s.cfg.SnapshotEvery/leavingFraction)) {
		return
	}
	if picture, ok := s.picture(st); ok {
		st.saved = picture.seq
		s.unsaved = append(s.unsaved, picture.snapshot(st.id, s.folding.Version))
		s.save()
	}
}

// leavingFraction of SnapshotEvery is what a stream that leaves memory may be ahead of its snapshot.
const leavingFraction = 4

// keepAll keeps every stream, because the process ends.
func (s *shard) keepAll() {
	for _, r := range [...]*ring{&s.cold, &s.hot} {
		for st := r.oldest(); st != nil; st = r.after(st) {
			if st.bad == nil {
				s.keep(st)
			}
		}
	}
}

func (st *stream) seqKept() uint64 {
	if st.frozen != nil {
		return st.frozen.seq
	}
	return st.folded.seq
}

// picture is a loaded stream as it is now.
func (s *shard) picture(st *stream) (picture *frozen, ok bool) {
	if st.frozen != nil {
		return st.frozen, true
	}
	err := guarded(func() (err error) {
		picture, err = st.folded.freeze()
		return err
	})
	if err != nil {
		s.logger.Error("snapshot not made", "shard", s.number, "error", fmt.Errorf("stream %s at %d: %w", st.id, st.folded.seq, err).Error())
		return nil, false
	}
	return picture, true
}

const maxUnsaved = 256 // snapshots that wait while others are saved, until the process ends; more are forgotten, which costs later loads only

func (s *shard) save() {
	if s.saving || len(s.unsaved) == 0 {
		return
	}
	s.saving = true
	n := min(len(s.unsaved), maxUnsaved)
	s.do(saveTask{snapshots: s.unsaved[:n:n]})
	s.unsaved = s.unsaved[n:]
}

// saved is told what came of saving snapshots. A failure costs the next load time, and nothing else.
func (s *shard) saved(err error) {
	s.saving = false
	if err != nil {
		s.logger.Warn("snapshots not saved", "shard", s.number, "error", err.Error())
	}
	if len(s.unsaved) > maxUnsaved && !s.closing {
		s.unsaved = s.unsaved[len(s.unsaved)-maxUnsaved:]
	}
	s.save()
}

// underived is an entry whose events are not in the histories yet.
type underived struct {
	index  uint64
	events int
	since  time.Time
}

// held tells whether commands have to wait because the histories are too far behind.
func (s *shard) held() bool {
	if len(s.lag) == 0 {
		return false
	}
	return s.lagging > s.cfg.MaxDeriveEvents || s.now().Sub(s.lag[0].since) > s.cfg.MaxDeriveLag
}

// derive has the next entries written into the histories.
func (s *shard) derive() {
	if s.deriving || s.derived >= s.head.Index {
		return
	}
	s.deriving = true
	if s.derives++; s.verify || s.derives%verifyEvery == 0 {
		s.verify = false
		s.do(progressTask{told: s.progressed})
		return
	}
	entries := s.recent.from(s.derived + 1)
	if len(entries) > 0 && entries[0].Index != s.derived+1 {
		entries = nil // let go of; they are read again
	}
	s.do(deriveTask{from: s.derived + 1, entries: upTo(entries, s.cfg.DeriveBatchBytes)})
}

func upTo(entries []*domain.Entry, bytes int) []*domain.Entry {
	for i, e := range entries {
		if bytes -= payloadBytes(e); bytes < 0 && i > 0 {
			return entries[:i]
		}
	}
	return entries
}

// progressed is told how far the histories are, by whomever. It may be less than what was derived here, after another
// process derived in between.
func (s *shard) progressed(progress uint64, err error) {
	s.deriving = false
	if err != nil {
		s.deriveFailed(err)
		return
	}
	s.moveDerived(progress)
	s.derive()
}

// derivedTo is told that the histories hold everything up to an entry.
func (s *shard) derivedTo(index uint64, err error) {
	s.deriving = false
	if forgotten(err) && s.ended == nil {
		s.stop(err)
		return
	}
	if err != nil {
		s.deriveFailed(err)
		return
	}
	s.moveDerived(index)
	s.derive()
}

func (s *shard) deriveFailed(err error) {
	s.verify = true
	s.figures.deriveFails.Add(1)
	s.logger.Warn("histories not derived", "shard", s.number, "error", err.Error())
	if s.ended != nil {
		return
	}
	s.deriving = true
	s.do(pauseTask{d: s.backoff(6), then: func() {
		s.deriving = false
		s.derive()
	}})
}

func (s *shard) moveDerived(index uint64) {
	s.derived = index
	n := 0
	for n < len(s.lag) && s.lag[n].index <= index {
		s.lagging -= s.lag[n].events
		n++
	}
	s.lag = s.lag[n:]
}

// recentEntries are the newest entries of the log, contiguous: those that are not in the histories yet, those that a load
// which has begun will ask for, and a few more, for commands that are repeated at once; all within a limit of bytes.
type recentEntries struct {
	limit   int
	bytes   int
	entries []*domain.Entry
}

const recentKept = 1 << 20 // bytes of entries that nobody is known to need

// add takes the newest entry in. Entries from index `needed` on are kept, within the limit.
func (r *recentEntries) add(e *domain.Entry, needed uint64) {
	r.entries = append(r.entries, e)
	r.bytes += memoryBytes(e)
	if r.bytes <= min(2*recentKept, r.limit) {
		return
	}
	n, bytes := 0, r.bytes
	for n < len(r.entries)-1 && (bytes > r.limit || bytes > recentKept && r.entries[n].Index < needed) {
		bytes -= memoryBytes(r.entries[n])
		n++
	}
	if n == 0 {
		return
	}
	// A copy: loads may be looking at the old one.
	r.entries, r.bytes = append(make([]*domain.Entry, 0, len(r.entries)-n+16), r.entries[n:]...), bytes
}

// view is what there is now. It never changes.
func (r *recentEntries) view() []*domain.Entry { return r.entries[:len(r.entries):len(r.entries)] }

// from is what there is from an index on, or from the first later one.
func (r *recentEntries) from(index uint64) []*domain.Entry {
	if len(r.entries) == 0 {
		return nil
	}
	first := r.entries[0].Index
	if index <= first {
		return r.view()
	}
	n := index - first
	if n >= uint64(len(r.entries)) {
		return nil
	}
	return r.view()[n:]
}

// events finds a command's events.
func (r *recentEntries) events(wanted eventsRequest) ([]domain.Event, bool) {
	entries := r.from(wanted.index)
	if wanted.index == 0 || len(entries) == 0 || entries[0].Index != wanted.index {
		return nil, false
	}
	events := entries[0].Events
	for i := range events {
		if events[i].Stream == wanted.stream && events[i].Seq == wanted.seq {
			return consecutive(events[i:], wanted.count)
		}
	}
	return nil, false
}

func consecutive(events []domain.Event, count int) ([]domain.Event, bool) {
	if len(events) < count {
		return nil, false
	}
	return events[:count:count], true
}

func payloadBytes(e *domain.Entry) int {
	n := 0
	for i := range e.Events {
		n += len(e.Events[i].Payload)
	}
	return n
}

// memoryBytes is about what an entry holds in memory: payloads, what they were decoded to, and envelopes.
func memoryBytes(e *domain.Entry) int { return 2*payloadBytes(e) + 640*len(e.Events) + 256 }
