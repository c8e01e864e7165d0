package command

import (
	"errors"
	"math"

	"carryon/domain"
)

// A shard that another process wrote for hours is taken over by leaping: what is known of its streams is thrown away, and
// the log is opened again where the histories end, as at a start. Reading on, entry by entry, would take as long as the
// other process wrote. The commands that wait have their streams loaded anew.

// leap opens the log anew, when the next entries to be read are too many and the histories hold them.
func (s *shard) leap() {
	s.op = opOpening
	s.do(progressTask{told: s.leapTo})
}

// leapTo is told how far the histories are.
func (s *shard) leapTo(progress uint64, err error) {
	switch {
	case s.ended != nil:
		s.op = opNone
		return
	case err != nil && !errors.Is(err, ErrDiffers), s.deriving, progress < s.head.Index+uint64(s.cfg.LeapEntries):
		s.readFrom(s.head.Index + 1)
		return
	case err != nil:
		s.stop(err)
		return
	}
	s.unlearn()
	s.openedAt(progress, nil)
}

// stale marks a load that began before a leap: no entry has that index.
const stale = math.MaxUint64 - 1

// unlearn throws away what is known of the log and of the streams. Loads that are under way will be begun again.
func (s *shard) unlearn() {
	for id, st := range s.streams {
		if st.in != nil {
			st.in.remove(st)
		}
		if st.bad != nil {
			s.figures.badStreams.Add(-1)
		}
		st.folded, st.frozen, st.bad, st.saved, st.bytes = nil, nil, nil, 0, 0
		switch {
		case st.loading:
			st.through = stale
		case st.unanswered == 0:
			delete(s.streams, id)
		}
	}
	s.opened, s.head, s.derived, s.verify = false, domain.Head{}, 0, false
	s.lag, s.lagging = nil, 0
	s.recent.entries, s.recent.bytes = nil, 0
	waiting := s.queue
	s.queue = nil
	for _, p := range waiting {
		p.stream.waiting = append(p.stream.waiting, p)
		s.load(p.stream)
	}
}
