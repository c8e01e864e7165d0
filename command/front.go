package command

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"carryon/domain"
)

// The front stands before the shard writers of a process. What belongs to a shard of another process it forwards there,
// once; when that process fails, it is decided here, which may be slow and is never wrong, because the command id is
// looked up. What was forwarded to this process never meets a front: see App.Local.
//
// A forward whose outcome is not known may still be recorded by the owner, later. So an answer that rests on nothing
// recorded under the command's own id is no answer any more: the caller is told "unknown", and asks again.

// FrontConfig are the settings of a front. Zero values stand for the defaults.
type FrontConfig struct {
	// Distrust is how long a process that failed is left alone. One command tries it then. Default 1 s.
	Distrust time.Duration
	// Share is the part of the caller's time that a forward may take: 1/Share. Default 2.
	Share int
}

// FrontMetrics are the figures of forwarding.
type FrontMetrics struct {
	forwards *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// NewFrontMetrics makes the figures and registers them, unless registry is nil.
func NewFrontMetrics(registry prometheus.Registerer) *FrontMetrics {
	m := &FrontMetrics{
		forwards: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carryon_forwards_total",
			Help: "Commands and authoritative reads for a shard of another process: answered by it; failed (certainly not done there) or unknown, and done here; distrusted, and done here without asking it.",
		}, []string{"what", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "carryon_forward_seconds", Help: "How long forwards took.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}, []string{"what"}),
	}
	if registry != nil {
		registry.MustRegister(m.forwards, m.seconds)
	}
	return m
}

// front is a Submitter before another one.
type front struct {
	cfg     FrontConfig
	writer  Submitter
	owners  Ownership
	remote  Forwarder
	shards  int
	metrics *FrontMetrics

	mu       sync.Mutex
	distrust map[string]time.Time // by process: until when it is left alone
}

var _ Submitter = (*front)(nil)

func newFront(writer Submitter, f Forwarding) *front {
	orDefault(&f.Config.Distrust, time.Second)
	orDefault(&f.Config.Share, 2)
	if f.Metrics == nil {
		f.Metrics = NewFrontMetrics(nil)
	}
	return &front{cfg: f.Config, writer: writer, owners: f.Owners, remote: f.To, shards: f.Shards, metrics: f.Metrics, distrust: map[string]time.Time{}}
}

// Submit has a command decided by the owner of its shard, or here.
func (f *front) Submit(ctx context.Context, s Submission) (Result, error) {
	if s.Forward == nil {
		return f.writer.Submit(ctx, s)
	}
	a := &attempt{front: f, forward: s.Forward}
	s.Forward = a.to // for a shard that finds another writer at work
	if owner, here := f.owners.Owner(ShardOf(s.Stream, f.shards)); !here {
		result, err := a.to(ctx, owner)
		if !errors.Is(err, ErrUnavailable) {
			return result, err
		}
		s.Forward = nil // once at most
	}
	result, err := f.writer.Submit(ctx, s)
	return a.certain(result, err, &s)
}

// writes tells whether a stream's shard belongs to this process.
func (a *App) writes(stream domain.StreamID) bool {
	f, shared := a.writer.(*front)
	if !shared {
		return true
	}
	_, here := f.owners.Owner(ShardOf(stream, f.shards))
	return here
}

// attempt is the forward of one command.
type attempt struct {
	front   *front
	forward func(ctx context.Context, writer string) (Result, error)
	unknown atomic.Pointer[error] // what the forward ended with: the other process may record the command yet
}

// to forwards a command. An error that wraps ErrUnavailable means that it has to be decided here. Any other error, and
// any result, is the answer.
func (a *attempt) to(ctx context.Context, writer string) (Result, error) {
	var result Result
	unknown, err := a.front.ask(ctx, writer, "command", func(ctx context.Context) (err error) {
		result, err = a.forward(ctx, writer)
		return err
	})
	if unknown {
		a.unknown.Store(&err)
	}
	if err != nil {
		return Result{}, err
	}
	result.Elsewhere = true
	return result, nil
}

// certain turns an answer that the other process may still contradict into ErrUnknown.
func (a *attempt) certain(result Result, err error, s *Submission) (Result, error) {
	unknown := a.unknown.Load()
	if unknown == nil || s.Kind == KindDryRun || errors.Is(err, ErrUnknown) {
		return result, err
	}
	if err == nil {
		id, canonical := CanonicalCommandID(s.Meta.CommandID)
		for i := range result.Events {
			if canonical == nil && result.Events[i].CommandID == id {
				return result, nil
			}
		}
	}
	return Result{}, fmt.Errorf("command %s was forwarded without an answer, and nothing was recorded here: %w: %w", s.Meta.CommandID, ErrUnknown,
		errors.Join(*unknown, err))
}

// Load reads a stream at the owner of its shard, who has it in memory, or here.
func (f *front) Load(ctx context.Context, stream domain.StreamID) (Version, error) {
	if owner, here := f.owners.Owner(ShardOf(stream, f.shards)); !here {
		var version Version
		_, err := f.ask(ctx, owner, "read", func(ctx context.Context) (err error) {
			version, err = f.remote.Load(ctx, owner, stream)
			return err
		})
		if err == nil {
			return version, nil
		}
	}
	return f.writer.Load(ctx, stream)
}

// ask asks another process, unless it is distrusted, for at most a part of the time that the caller has. Its error wraps
// ErrUnavailable when the process did not answer; unknown tells that it may still do what it was asked for.
func (f *front) ask(ctx context.Context, writer, what string, do func(context.Context) error) (unknown bool, err error) {
	if !f.trusted(writer) {
		f.metrics.forwards.WithLabelValues(what, "distrusted").Inc()
		return false, fmt.Errorf("process %s failed a moment ago: %w", writer, ErrUnavailable)
	}
	begin := time.Now()
	bounded := ctx
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(f.cfg.Share))
		defer cancel()
	}
	err = do(bounded)
	f.metrics.seconds.WithLabelValues(what).Observe(time.Since(begin).Seconds())
	gone := ctx.Err() != nil
	switch {
	case err == nil:
		f.trust(writer)
		f.metrics.forwards.WithLabelValues(what, "answered").Inc()
		return false, nil
	case errors.Is(err, ErrUnknown), bounded.Err() != nil:
		f.metrics.forwards.WithLabelValues(what, "unknown").Inc()
		if gone {
			return true, fmt.Errorf("forwarded to %s: %w: %w", writer, ErrUnknown, err)
		}
		f.suspect(writer)
		return true, fmt.Errorf("forwarded to %s: %w: %w", writer, ErrUnavailable, err)
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrClosed):
		f.metrics.forwards.WithLabelValues(what, "failed").Inc()
		if !errors.Is(err, ErrUnreadable) { // that is one stream's trouble, and not the process's
			f.suspect(writer)
		}
		return false, fmt.Errorf("forwarded to %s: %w: %w", writer, ErrUnavailable, err)
	}
	f.trust(writer)
	f.metrics.forwards.WithLabelValues(what, "answered").Inc()
	return false, err
}

// trusted tells whether a process may be asked. When its time is up, one caller may, and the others wait for how that
// goes.
func (f *front) trusted(writer string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	until, failed := f.distrust[writer]
	if !failed {
		return true
	}
	now := time.Now()
	if now.Before(until) {
		return false
	}
	f.distrust[writer] = now.Add(f.cfg.Distrust)
	return true
}

func (f *front) trust(writer string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.distrust, writer)
}

// suspect leaves a process alone for a while. Those that are gone for good are forgotten with the years of others: names
// are never used again.
func (f *front) suspect(writer string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	for name, until := range f.distrust {
		if now.Sub(until) > time.Hour {
			delete(f.distrust, name)
		}
	}
	f.distrust[writer] = now.Add(f.cfg.Distrust)
}
