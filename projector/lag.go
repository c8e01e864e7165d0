package projector

import (
	"time"

	"carryon/domain"
)

// ShardStatus is how far one read model is in one shard.
type ShardStatus struct {
	Model   string
	Shard   int
	Applied Checkpoint // the last entry applied
	Tail    uint64     // the highest index of the log that this process has heard of

	LagEntries uint64 // entries that are not applied
	LagEvents  uint64 // events in them
	// LagEstimated says that LagEvents counts entries that were not read yet, at the mean of those that were.
	LagEstimated bool
	Lag          time.Duration // age of the oldest entry that is not applied; 0 without one

	Parked    int    // streams
	Differs   bool   // history differs: the shard has stopped
	Elsewhere bool   // another instance was found working on the shard
	Err       string // what the last round failed with, or why the shard stopped
}

// Status tells how far each shard is. It reads no store.
func (c *Consumer[T]) Status() []ShardStatus {
	statuses := make([]ShardStatus, len(c.shards))
	for i, s := range c.shards {
		statuses[i] = s.status(c.Name(), c.clock())
	}
	return statuses
}

func (s *shardState) status(model string, now time.Time) ShardStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := ShardStatus{
		Model: model, Shard: s.shard, Applied: s.last, Tail: s.tail,
		Parked: s.parked, Differs: s.stopped != nil, Elsewhere: s.elsewhere,
	}
	if s.tail > s.last.Index {
		status.LagEntries = s.tail - s.last.Index
		status.LagEvents, status.LagEstimated = s.marks.events(s.last.Index, s.tail)
		status.Lag = max(now.Sub(s.marks.oldest(s.last.Index, now)), 0)
	}
	if s.stopped != nil {
		status.Err = s.stopped.Error()
	} else if s.failure != nil {
		status.Err = s.failure.Error()
	}
	return status
}

// marks remember how many events entries hold and when they were recorded, for as long as they are not applied, and
// the last applied one. They are bounded: of a long backlog only the entries met first are known.
type marks struct {
	byIndex     map[uint64]mark
	seenEntries uint64
	seenEvents  uint64
	lastAt      time.Time // recorded_at of the last applied entry that was known
}

type mark struct {
	events     int
	recordedAt time.Time
}

// maxMarks entries per shard are remembered.
const maxMarks = 8192

func newMarks() marks { return marks{byIndex: make(map[uint64]mark)} }

func (m *marks) add(e *domain.Entry) {
	if _, known := m.byIndex[e.Index]; known || len(m.byIndex) >= maxMarks {
		return
	}
	m.byIndex[e.Index] = mark{events: len(e.Events), recordedAt: e.RecordedAt}
	m.seenEntries++
	m.seenEvents += uint64(len(e.Events))
}

// applied forgets entries up to an index.
func (m *marks) applied(last uint64) {
	for index, known := range m.byIndex {
		if index <= last {
			if known.recordedAt.After(m.lastAt) {
				m.lastAt = known.recordedAt
			}
			delete(m.byIndex, index)
		}
	}
}

// events counts the events of the entries after last up to tail, and tells whether some of them are a guess.
func (m *marks) events(last, tail uint64) (count uint64, estimated bool) {
	known := uint64(0)
	for index, mark := range m.byIndex {
		if index > last && index <= tail {
			known++
			count += uint64(mark.events)
		}
	}
	unknown := tail - last - known
	if unknown > 0 && m.seenEntries > 0 {
		count += (unknown*m.seenEvents + m.seenEntries/2) / m.seenEntries
	}
	return count, unknown > 0
}

// oldest is when the first entry after last was recorded; when it was not met yet, the moment the last applied one was.
func (m *marks) oldest(last uint64, now time.Time) time.Time {
	if first, known := m.byIndex[last+1]; known {
		return first.recordedAt
	}
	if m.lastAt.IsZero() {
		return now
	}
	return m.lastAt
}
