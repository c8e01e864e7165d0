package elastic

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// store is one generation of one model.
type store struct {
	c           *Client
	generations Generations
	generation  int
	index       string
	shards      []int // of the log

	making  chan struct{} // holds a token while somebody prepares
	showing chan struct{} // holds a token while somebody refreshes, or waits for when the next may
	pause   pause         // of whoever holds the token

	mu    sync.Mutex
	made  bool           // the index is there
	shown map[int]uint64 // by shard, up to which entry documents are found
	own   map[int]held   // by shard, the checkpoint as this process wrote it last
}

// held is a checkpoint that this process wrote.
type held struct {
	doc   kept[checkpoint]
	since time.Time
}

// heldFor is how long a checkpoint is taken for the one that was written here last. Whoever is wrong about that finds out
// when he commits, on condition; but what he wrote meanwhile of a stream that another has parked stands there, so this is
// short.
const heldFor = time.Second

func newStore(c *Client, d design, generation int, shards []int) *store {
	g := generationsOf(c, d)
	return &store{
		c: c, generations: g, generation: generation, index: g.Index(generation), shards: slices.Sorted(slices.Values(shards)),
		making: make(chan struct{}, 1), showing: make(chan struct{}, 1), shown: map[int]uint64{}, own: map[int]held{},
	}
}

// Generations are those of the store's model.
func (s *store) Generations() Generations { return s.generations }

// Close does nothing: the connections are the client's.
func (s *store) Close() error { return nil }

// Prepare makes what the generation needs if it is not there; whatever is asked first does so, too. Only the first
// generation is made by being opened; one that is not there, or not any more, is ErrGone (wrapped).
func (s *store) Prepare(ctx context.Context) error {
	if s.isMade() {
		return nil
	}
	select {
	case s.making <- struct{}{}:
		defer func() { <-s.making }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if s.isMade() {
		return nil
	}
	if err := s.prepare(ctx); err != nil {
		return fmt.Errorf("prepare generation %d of read model %s: %w", s.generation, s.generations.design.model, readError(err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made = true
	return nil
}

func (s *store) prepare(ctx context.Context) error {
	if err := s.generations.prepare(ctx); err != nil {
		return err
	}
	current, err := s.generations.Current(ctx)
	if err != nil {
		return err
	}
	if s.generation == 1 && current == 1 {
		if _, err := s.generations.make(ctx, 1); err != nil {
			return err
		}
	} else if err := s.c.call(ctx, http.MethodGet, "/"+s.index+"?filter_path=*.settings.index.uuid", nil, nil); err != nil {
		return err
	}
	if err := s.c.started(ctx, s.index); err != nil {
		return err
	}
	if current == s.generation {
		return s.generations.point(ctx)
	}
	return nil
}

func (s *store) isMade() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made
}

// failed names the model.
func (s *store) failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("read model %s: %s: %w", s.generations.design.model, what, err)
}

// checkpoint is how far a shard is, and which streams of it are parked. It is one document, so that both change
// together. Its reasons are in documents of their own: they may be long, and this one is written at every commit.
type checkpoint struct {
	Index  uint64         `json:"index"`
	ID     string         `json:"id"`
	Commit string         `json:"commit"` // names the commit that wrote it
	Parked []parkedStream `json:"parked,omitempty"`
}

type parkedStream struct {
	Stream   domain.StreamID `json:"stream"`
	FirstSeq uint64          `json:"first_seq"`
	Index    uint64          `json:"index"`
	Place    int             `json:"place"`
	Attempts int             `json:"attempts"`
	Since    time.Time       `json:"since"`
}

// parkedReason is why a stream is parked.
type parkedReason struct {
	Reason string `json:"reason"`
}

// Documents of our own in an index, beside those that are searched.
const (
	ownCheckpoint = "checkpoint"
	ownParked     = "parked"
)

func checkpointID(shard int) string              { return ownCheckpoint + "/" + strconv.Itoa(shard) }
func parkedID(stream domain.StreamID) string     { return ownParked + "/" + string(stream) }
func eventID(s domain.StreamID, n uint64) string { return string(s) + "/" + strconv.FormatUint(n, 10) }

func (c *checkpoint) at() (projector.Checkpoint, error) {
	if c.Index == 0 && c.ID == "" {
		return projector.Checkpoint{}, nil
	}
	id, err := domain.ParseBatchID(c.ID)
	return projector.Checkpoint{Index: c.Index, ID: id}, err
}

func (p *parkedStream) parked(shard int) projector.Parked {
	return projector.Parked{
		Stream: p.Stream, Shard: shard, FirstSeq: p.FirstSeq, Position: domain.Position{Shard: shard, Index: p.Index, Place: p.Place},
		Attempts: p.Attempts, Since: p.Since.UTC(),
	}
}

// checkpointNow is a shard's checkpoint: the one that was written here a moment ago, or what is there.
func (s *store) checkpointNow(ctx context.Context, shard int) (kept[checkpoint], error) {
	s.mu.Lock()
	own, is := s.own[shard]
	s.mu.Unlock()
	if is && time.Since(own.since) < heldFor {
		return own.doc, nil
	}
	return look[checkpoint](ctx, s.c, s.index, checkpointID(shard))
}

// hold remembers a checkpoint that was written.
func (s *store) hold(shard int, doc kept[checkpoint]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.own[shard] = held{doc, time.Now()}
}

// letGo forgets it: it is not known any more what is there.
func (s *store) letGo(shard int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.own, shard)
}

// found is one of the documents that were asked for by name.
type found[S any] struct {
	kept[S]
	ID    string     `json:"_id"`
	Error *itemError `json:"error"`
}

// lookAll reads documents of our own by name, as they are, whether refreshed or not; in the order of the names.
func lookAll[S any](ctx context.Context, s *store, ids []string, fields string) ([]found[S], error) {
	if err := s.Prepare(ctx); err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, nil
	}
	var answer struct {
		Docs []found[S] `json:"docs"`
	}
	if err := s.c.call(ctx, http.MethodPost, "/"+s.index+"/_mget"+fields, map[string]any{"ids": ids}, &answer); err != nil {
		return nil, readError(err)
	}
	for _, d := range answer.Docs {
		if d.Error != nil {
			status := http.StatusServiceUnavailable // the others are answers about the document
			return nil, readError(&answerError{Status: status, Type: d.Error.Type, Reason: d.Error.words()})
		}
	}
	return answer.Docs, nil
}

// eachCheckpoint reads the checkpoints that there are.
func (s *store) eachCheckpoint(ctx context.Context, fields string, f func(shard int, c *checkpoint) error) error {
	ids := make([]string, len(s.shards))
	for i, shard := range s.shards {
		ids[i] = checkpointID(shard)
	}
	docs, err := lookAll[checkpoint](ctx, s, ids, fields)
	if err != nil {
		return err
	}
	for i := range docs {
		if !docs[i].Found {
			continue
		}
		shard, err := strconv.Atoi(strings.TrimPrefix(docs[i].ID, ownCheckpoint+"/"))
		if err == nil {
			err = f(shard, &docs[i].Source.State)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Checkpoints are the last applied entries by shard.
func (s *store) Checkpoints(ctx context.Context) (map[int]projector.Checkpoint, error) {
	all := map[int]projector.Checkpoint{}
	err := s.eachCheckpoint(ctx, "?_source_excludes=state.parked", func(shard int, c *checkpoint) (err error) {
		if c.Index > 0 {
			all[shard], err = c.at()
		}
		return err
	})
	if err != nil {
		return nil, s.failed("the checkpoints", err)
	}
	return all, nil
}

// Parked lists parked streams in order of stream, after the given one.
func (s *store) Parked(ctx context.Context, after domain.StreamID, limit int) ([]projector.Parked, error) {
	var all []projector.Parked
	err := s.eachCheckpoint(ctx, "", func(shard int, c *checkpoint) error {
		for i := range c.Parked {
			if c.Parked[i].Stream > after {
				all = append(all, c.Parked[i].parked(shard))
			}
		}
		return nil
	})
	slices.SortFunc(all, func(a, b projector.Parked) int { return strings.Compare(string(a.Stream), string(b.Stream)) })
	all = all[:min(len(all), limit)]
	if err == nil {
		err = s.addReasons(ctx, all)
	}
	if err != nil {
		return nil, s.failed("the parked streams", err)
	}
	return all, nil
}

func (s *store) addReasons(ctx context.Context, parked []projector.Parked) error {
	ids := make([]string, len(parked))
	for i := range parked {
		ids[i] = parkedID(parked[i].Stream)
	}
	docs, err := lookAll[parkedReason](ctx, s, ids, "")
	if err != nil {
		return err
	}
	for i := range docs {
		parked[i].Reason = docs[i].Source.State.Reason
	}
	return nil
}

// ParkedStream looks one stream up, and tells whether it is parked.
func (s *store) ParkedStream(ctx context.Context, stream domain.StreamID) (projector.Parked, bool, error) {
	var all []projector.Parked
	err := s.eachCheckpoint(ctx, "", func(shard int, c *checkpoint) error {
		for i := range c.Parked {
			if c.Parked[i].Stream == stream {
				all = append(all, c.Parked[i].parked(shard))
			}
		}
		return nil
	})
	if err == nil {
		err = s.addReasons(ctx, all)
	}
	if err != nil {
		return projector.Parked{}, false, s.failed("the parked stream", err)
	}
	if len(all) == 0 {
		return projector.Parked{}, false, nil
	}
	return all[0], true, nil
}

// pause is what refreshes that somebody waits for leave between them. Each costs the server about the same, however
// little it shows, so that one behind the other they would keep it from indexing what they are to show.
type pause struct {
	ended time.Time     // of the last one
	took  time.Duration // that one
}

// left is how long the next one is to wait: as long as the last one took, twice, so that they have a third of the time;
// but no longer than the server leaves between those that it makes by itself.
func (p *pause) left(interval time.Duration) time.Duration {
	return time.Until(p.ended.Add(min(2*p.took, interval)))
}

// Show refreshes the index, unless that was done since the position was applied: what is applied is found only after a
// refresh. Those who want the same wait for one of them, and each refresh waits a while for more to show.
func (s *store) Show(ctx context.Context, at domain.Position) error {
	if s.isShown(at) {
		return nil
	}
	select {
	case s.showing <- struct{}{}:
		defer func() { <-s.showing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if s.isShown(at) {
		return nil
	}
	timer := time.NewTimer(s.pause.left(s.c.cfg.RefreshInterval))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	applied, err := s.applied(ctx, at) // before the refresh
	begun := time.Now()
	if err == nil {
		err = s.refresh(ctx)
	}
	s.pause = pause{ended: time.Now(), took: time.Since(begun)}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for shard, index := range applied {
		s.shown[shard] = max(s.shown[shard], index)
	}
	return nil
}

// applied is how far each shard is, as far as this process knows by its own commits, if that is as far as a position;
// else as the checkpoints say.
func (s *store) applied(ctx context.Context, at domain.Position) (map[int]uint64, error) {
	all := map[int]uint64{}
	s.mu.Lock()
	for shard, own := range s.own {
		all[shard] = own.doc.Source.State.Index
	}
	s.mu.Unlock()
	if all[at.Shard] >= at.Index {
		return all, nil
	}
	checkpoints, err := s.Checkpoints(ctx)
	for shard, c := range checkpoints {
		all[shard] = max(all[shard], c.Index)
	}
	return all, err
}

func (s *store) isShown(at domain.Position) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shown[at.Shard] >= at.Index
}

// forgetShown is for a retry, which writes documents behind the checkpoint: they are found only after a refresh, too.
func (s *store) forgetShown(shard int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.shown, shard)
}

func (s *store) refresh(ctx context.Context) error {
	var answer struct {
		Shards struct {
			Failed int `json:"failed"`
		} `json:"_shards"`
	}
	err := s.c.call(ctx, http.MethodPost, "/"+s.index+"/_refresh", nil, &answer)
	if err == nil && answer.Shards.Failed > 0 {
		err = errors.New("some parts of the index could not be refreshed")
	}
	if err != nil {
		return s.failed("refresh", readError(err))
	}
	return nil
}

func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
