package command_test

import (
	"context"
	"errors"
	"slices"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// reader is an instance of a consumer, one life after the other. What its Run does, the moves do: rounds of work, and a
// look at the log when the shard is quiet.
type reader struct {
	w        *model
	n        int
	life     int
	wire     *wire
	session  *session
	consumer *projector.Consumer[*rowsTx]
	co       *coroutine // the round that is under way
	outcome  projector.Outcome
	err      error
	woken    bool      // something was offered since the last round began
	seen     uint64    // what the log and the read model were at the last look that found nothing
	messages []message // on their way to it
	history  uint64
}

type message struct{ entry *domain.Entry }

func newReader(w *model, n int) *reader {
	r := &reader{w: w, n: n}
	r.begin()
	return r
}

func (r *reader) begin() {
	w := r.w
	r.wire = w.connect()
	r.session = &session{m: w.rows}
	r.co, r.outcome, r.err, r.woken, r.seen = nil, projector.Progressed, nil, true, 0
	r.history = mix(uint64(r.n), uint64(r.life))
	cfg := projector.Config{Elsewhere: time.Nanosecond, Tries: 2}
	if w.consume != nil {
		w.consume(&cfg)
	}
	r.consumer = projector.NewConsumer(cfg, projector.Projection[*rowsTx](rowsProjection{w.rows}), projector.Store[*rowsTx](r.session),
		projector.Log(r.wire), projector.Histories(r.wire), []int{modelShard}, func() time.Time { return w.now }, nil)
}

// publish sends an entry to all instances.
func (w *model) publish(e *domain.Entry) {
	if r := w.ledger.all[e.ID]; r == nil {
		w.ledger.breaks("entry %d (%s) is published, and is not in the log", e.Index, e.ID)
	}
	for _, r := range w.readers {
		r.messages = append(r.messages, message{entry: e})
	}
}

// deliver hands the n-th message over.
func (r *reader) deliver(n int, f fault) {
	m := r.messages[n]
	if f != messageDoubled {
		r.messages = slices.Delete(r.messages, n, n+1)
	}
	if f == messageLost {
		return
	}
	if r.w.hints { // the entry was too large for a message
		r.consumer.Hint(modelShard, m.entry.Index)
	} else {
		r.consumer.Offer(m.entry)
	}
	r.woken = true
	r.told(mix(51, hashID(m.entry.ID)))
}

func (r *reader) told(v uint64) { r.history = mix(r.history, v) }

// circumstances are all that a look can see.
func (r *reader) circumstances() uint64 {
	return mix(mix(r.w.ledger.fingerprint(), r.w.rows.fingerprint()), 1)
}

// wants tells which round the instance would begin now: "step", "look", or none.
func (r *reader) wants() string {
	switch {
	case r.co != nil || r.outcome == projector.Stopped:
		return ""
	case r.outcome == projector.Elsewhere && r.seen == r.circumstances():
	case r.outcome != projector.Idle || r.woken:
		return "step"
	case r.seen != r.circumstances():
		return "look"
	}
	return ""
}

// round begins a round.
func (r *reader) round(kind string) {
	work := r.consumer.Step
	if kind == "look" {
		work = r.consumer.Look
	}
	r.told(mix(52, hashText(kind)))
	circumstances := r.circumstances()
	r.woken = false
	r.co = r.w.begin(func() func() {
		outcome, err := work(context.Background(), modelShard)
		return func() {
			r.outcome, r.err = outcome, err
			if outcome == projector.Idle && kind == "look" || outcome == projector.Elsewhere {
				r.seen = circumstances
			}
		}
	})
	r.after()
}

// retryParked begins the retry of a parked stream.
func (r *reader) retryParked(stream domain.StreamID) {
	r.told(mix(53, hashText(string(stream))))
	r.co = r.w.begin(func() func() {
		err := r.consumer.RetryParked(context.Background(), stream)
		return func() {
			if errors.Is(err, projector.ErrHistoryDiffers) && r.w.ledger.forgot == 0 {
				r.w.ledger.breaks("retrying %s: %w", stream, err)
			}
		}
	})
	r.after()
}

// resume lets the round make its next call.
func (r *reader) resume(f fault) {
	r.w.resume(r.co, f)
	r.after()
}

func (r *reader) after() {
	if !r.co.over {
		return
	}
	r.told(r.co.digest)
	r.co.results()
	r.co = nil
	if r.outcome == projector.Stopped && r.w.ledger.forgot == 0 {
		r.w.ledger.breaks("consumer %d stopped: %w", r.n, r.err)
	}
}

// crash ends the life of the instance and begins the next.
func (r *reader) crash(hang bool) {
	r.session.dead, r.session.hang = true, hang
	r.end()
	r.life++
	r.begin()
}

func (r *reader) end() {
	if r.co != nil {
		r.co.stop()
		r.co = nil
	}
}

func (r *reader) fingerprint() uint64 {
	h := mix(r.history, mix(uint64(r.outcome), oneIf(r.woken)))
	if r.co != nil {
		h = mix(h, r.co.digest)
	}
	h = mix(h, oneIf(r.wants() == ""))
	sum := uint64(0)
	for _, m := range r.messages {
		sum += mix(61, hashID(m.entry.ID))
	}
	return mix(h, sum)
}
