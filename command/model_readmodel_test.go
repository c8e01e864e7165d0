package command_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"carryon/domain"
	"carryon/projector"
)

// readModel is a read model whose rows are the events that were applied, so that what is missing, doubled or in the
// wrong order shows.
type readModel struct {
	w       *model
	kind    storeKind
	at      projector.Checkpoint
	commits int // so far: the version of the checkpoint
	rows    map[domain.StreamID][]row
	parked  map[domain.StreamID]projector.Parked
	holder  *rowsTx // of the lock
	poison  map[string]bool
}

// storeKind is how a store lets one instance through.
type storeKind uint8

const (
	locking     storeKind = iota // a transaction locks the checkpoint
	conditional                  // a commit is refused when another one came in between
	documents                    // rows are written at once, each under its own id; then the checkpoint, conditionally
	forgetful                    // a commit is refused when the checkpoint is another: which no store may do, see Tx.Commit
)

// row is an event as it was applied.
type row struct {
	id       string
	seq      uint64
	position domain.Position
}

func newReadModel(w *model, kind storeKind) *readModel {
	return &readModel{w: w, kind: kind, rows: make(map[domain.StreamID][]row), parked: make(map[domain.StreamID]projector.Parked), poison: make(map[string]bool)}
}

// session is an instance's way to the read model.
type session struct {
	m    *readModel
	dead bool // the instance has crashed
	hang bool // and its lock stays
}

var _ projector.Store[*rowsTx] = (*session)(nil)

var errInjected = errors.New("injected")

func (s *session) call(name string) error {
	if s.m.w.reach(name, nil) == callFails {
		s.m.w.told(3)
		return fmt.Errorf("%s: %w: %w", name, errInjected, projector.ErrTransient)
	}
	return nil
}

func (s *session) Begin(_ context.Context, shard int) (*rowsTx, error) {
	if err := s.call("begin"); err != nil {
		return nil, err
	}
	if s.m.kind == locking && s.m.holder != nil {
		s.m.w.told(4)
		return nil, fmt.Errorf("shard %d: %w", shard, projector.ErrElsewhere)
	}
	tx := &rowsTx{s: s, at: s.m.at, commits: s.m.commits, parked: make(map[domain.StreamID]*projector.Parked)}
	if s.m.kind == locking {
		s.m.holder = tx
	}
	s.m.w.told(5, hashCheckpoint(tx.at), s.m.parkedHash(), uint64(tx.commits))
	return tx, nil
}

func (s *session) Checkpoints(context.Context) (map[int]projector.Checkpoint, error) {
	if err := s.call("read the checkpoints"); err != nil {
		return nil, err
	}
	s.m.w.told(6, hashCheckpoint(s.m.at))
	return map[int]projector.Checkpoint{modelShard: s.m.at}, nil
}

// Parked is asked for a figure only, so nothing happens in between.
func (s *session) Parked(_ context.Context, after domain.StreamID, limit int) (found []projector.Parked, _ error) {
	for _, stream := range slices.Sorted(maps.Keys(s.m.parked)) {
		if stream > after && len(found) < limit {
			found = append(found, s.m.parked[stream])
		}
	}
	return found, nil
}

func (s *session) ParkedStream(_ context.Context, stream domain.StreamID) (projector.Parked, bool, error) {
	if err := s.call("look up a parked stream"); err != nil {
		return projector.Parked{}, false, err
	}
	p, is := s.m.parked[stream]
	s.m.w.told(7, p.FirstSeq, uint64(p.Attempts))
	return p, is, nil
}

// rowsTx is one transaction.
type rowsTx struct {
	s       *session
	at      projector.Checkpoint
	commits int
	rows    []struct { // in order
		stream domain.StreamID
		row    row
	}
	parked map[domain.StreamID]*projector.Parked
	done   bool
}

func (t *rowsTx) Checkpoint() projector.Checkpoint { return t.at }

func (t *rowsTx) ParkedAmong(_ context.Context, streams []domain.StreamID) (map[domain.StreamID]projector.Parked, error) {
	found := make(map[domain.StreamID]projector.Parked)
	for _, stream := range streams {
		if p, is := t.s.m.parked[stream]; is {
			found[stream] = p
		}
	}
	t.s.m.w.told(8, t.s.m.parkedHash())
	return found, nil
}

func (t *rowsTx) Park(_ context.Context, p projector.Parked) error {
	t.parked[p.Stream] = &p
	return nil
}

func (t *rowsTx) Unpark(_ context.Context, stream domain.StreamID) error {
	t.parked[stream] = nil
	return nil
}

func (t *rowsTx) Commit(_ context.Context, to projector.Checkpoint) error {
	w := t.s.m.w
	f := w.reach("commit", nil)
	switch {
	case f == callFails:
		w.told(9)
		return fmt.Errorf("commit: %w: %w", errInjected, projector.ErrTransient)
	case t.done: // the server has ended it
		w.told(10)
		return fmt.Errorf("commit: %w: %w", errInjected, projector.ErrTransient)
	case t.s.m.at != t.at, t.s.m.kind != forgetful && t.s.m.commits != t.commits:
		w.told(11)
		return fmt.Errorf("commit: %w", projector.ErrElsewhere)
	}
	t.s.m.commit(t, to)
	t.end()
	if f == commitAnswerLost {
		w.told(12)
		return fmt.Errorf("commit: the answer is lost: %w: %w", errInjected, projector.ErrTransient)
	}
	w.told(13)
	return nil
}

func (t *rowsTx) Rollback() {
	if !t.done && !t.s.hang {
		t.end()
	}
}

func (t *rowsTx) end() {
	t.done = true
	if t.s.m.holder == t {
		t.s.m.holder = nil
	}
}

// commit makes a transaction durable, and looks whether the rows are what the log says.
func (m *readModel) commit(t *rowsTx, to projector.Checkpoint) {
	for _, r := range t.rows {
		m.rows[r.stream] = append(m.rows[r.stream], r.row)
	}
	for stream, p := range t.parked {
		if p == nil {
			delete(m.parked, stream)
		} else {
			m.parked[stream] = *p
		}
	}
	m.at = to
	m.commits++
	m.judge()
}

// put writes a document, unless a newer one stands there.
func (m *readModel) put(stream domain.StreamID, r row) {
	rows := m.rows[stream]
	at, found := slices.BinarySearchFunc(rows, r.seq, func(have row, seq uint64) int { return int(have.seq) - int(seq) })
	if found {
		rows[at] = r
		return
	}
	m.rows[stream] = slices.Insert(rows, at, r)
}

// judge compares the rows with the fold of the log up to the checkpoint.
func (m *readModel) judge() {
	l := m.w.ledger
	upTo := l.all[m.at.ID]
	if m.at.Index > 0 && (upTo == nil || upTo.index != m.at.Index) {
		l.breaks("the read model is at entry %d (%.8s), which was never in the log", m.at.Index, m.at.ID)
		return
	}
	for _, stream := range modelStreams {
		want := l.fold(upTo, stream)
		parked, is := m.parked[stream]
		if is {
			want = slices.DeleteFunc(want, func(e recordedEvent) bool { return e.seq >= parked.FirstSeq })
		}
		got := m.rows[stream]
		if m.kind == documents {
			got = slices.DeleteFunc(slices.Clone(got), func(r row) bool { return r.position.Index > m.at.Index || is && r.seq >= parked.FirstSeq })
		}
		if len(got) != len(want) {
			l.breaks("at entry %d the read model has %d events of %s, and the log has %d", m.at.Index, len(got), stream, len(want))
			return
		}
		for i := range want {
			if got[i].id != want[i].id || got[i].seq != want[i].seq || got[i].position != want[i].position {
				l.breaks("at entry %d the read model's event %d of %s is %s at %s, and the log's is %s at %s",
					m.at.Index, i+1, stream, got[i].id, got[i].position, want[i].id, want[i].position)
				return
			}
		}
	}
}

func (m *readModel) parkedHash() (h uint64) {
	for stream, p := range m.parked {
		h += mix(hashText(string(stream)), mix(p.FirstSeq, uint64(p.Attempts)))
	}
	return h
}

func hashCheckpoint(c projector.Checkpoint) uint64 { return mix(c.Index, hashID(c.ID)) }

func (m *readModel) fingerprint() uint64 {
	h := mix(mix(hashCheckpoint(m.at), m.parkedHash()), uint64(m.commits))
	for _, stream := range modelStreams {
		h = mix(h, uint64(len(m.rows[stream])))
	}
	if m.holder != nil {
		h = mix(h, 1)
	}
	for id := range m.poison {
		h += mix(17, hashText(id))
	}
	return h
}

// rowsProjection writes each event down.
type rowsProjection struct{ m *readModel }

func (rowsProjection) Name() string { return "rows" }

func (p rowsProjection) Apply(_ context.Context, tx *rowsTx, events []*domain.Event) error {
	for _, e := range events {
		if p.m.poison[e.ID] {
			return &projector.PoisonError{Event: e, Err: errInjected}
		}
		r := row{id: e.ID, seq: e.Seq, position: e.Position}
		if p.m.kind == documents {
			p.m.put(e.Stream, r)
			continue
		}
		tx.rows = append(tx.rows, struct {
			stream domain.StreamID
			row    row
		}{e.Stream, r})
	}
	return nil
}
