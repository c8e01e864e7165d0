package command

import (
	"context"
	"fmt"

	"carryon/domain"
)

// Core is a shard of a writer that was not started, for tests that play its interleavings themselves.
type Core struct {
	w *Writer
	s *shard

	// Published, when set, is handed what the shard wants published.
	Published func(*domain.Entry)
	// Late is set when a claim stood behind answers.
	Late bool
}

// NewCore takes a shard of a writer that is never started.
func NewCore(w *Writer, shard int) *Core {
	c := &Core{w: w, s: w.shards[shard].core}
	c.s.start()
	return c
}

// Job is something the shard wants done. Do does the I/O, and what it returns tells the shard.
type Job struct {
	Kind   string
	Entry  *domain.Entry   // of a claim
	Stream domain.StreamID // of a load, or of events
	Do     func(context.Context) (tell func())
}

// Step lets the shard decide and claim, and takes what it wants done.
func (c *Core) Step() []Job {
	c.s.step()
	tasks := c.s.take(nil)
	c.s.tidy()
	var jobs []Job
	answered := false
	for _, t := range c.s.take(tasks) {
		switch t := t.(type) {
		case answerTask:
			answered = true
			t.p.done <- struct{}{}
		case publishTask:
			if c.Published != nil {
				c.Published(t.entry)
			}
		case loadTask:
			jobs = append(jobs, Job{Kind: "load", Stream: t.wanted.stream, Do: c.w.job(c.s, t)})
		case eventsTask:
			jobs = append(jobs, Job{Kind: "events", Stream: t.wanted.stream, Do: c.w.job(c.s, t)})
		case pauseTask:
			jobs = append(jobs, Job{Kind: "pause", Do: func(context.Context) func() { return t.then }})
		case claimTask:
			c.Late = c.Late || answered
			jobs = append(jobs, Job{Kind: "claim", Entry: t.entry, Do: c.w.job(c.s, t)})
		default:
			jobs = append(jobs, Job{Kind: kinds[fmt.Sprintf("%T", t)], Do: c.w.job(c.s, t)})
		}
	}
	return jobs
}

var kinds = map[string]string{
	"command.progressTask": "progress", "command.readTask": "read", "command.headTask": "head", "command.deriveTask": "derive",
	"command.saveTask": "save", "command.forwardTask": "forward",
}

// Waiting is a submission that was given to a core.
type Waiting struct{ p *pending }

// Submit gives a command to the core.
func (c *Core) Submit(ctx context.Context, sub Submission) *Waiting {
	p := newCommand(ctx, sub)
	c.s.submit(p)
	return &Waiting{p}
}

// Load gives an authoritative read to the core.
func (c *Core) Load(ctx context.Context, stream domain.StreamID) *Waiting {
	p := newRead(ctx, stream)
	c.s.submit(p)
	return &Waiting{p}
}

// Abandon is the caller's leaving.
func (c *Core) Abandon(w *Waiting) { c.s.abandon(w.p, context.Canceled) }

// Close stops gathering, as the writer's Close does.
func (c *Core) Close() { c.s.close() }

// Held is what the streams in memory weigh.
func (c *Core) Held() int { return c.s.status().CacheBytes }

// Weighed is what the streams in memory hold, as weighed now.
func (c *Core) Weighed() int {
	bytes := c.s.cold.bytes
	for st := c.s.hot.oldest(); st != nil; st = c.s.hot.after(st) {
		bytes += 512 + len(st.id) + st.folded.size()
	}
	return bytes
}

// Stopped is why the shard is stopped, nil while it is at work.
func (c *Core) Stopped() error { return c.s.ended }

// Opened tells whether what was in the log at the start has been read.
func (c *Core) Opened() bool { return c.s.opened }

// Derived tells whether the histories are as far as the log is known.
func (c *Core) Derived() bool { return c.s.derived >= c.s.head.Index }

// Answer is what a submission is answered.
type Answer struct {
	Result  Result
	Version Version
	Err     error
}

// Answer is the submission's answer, and false as long as there is none.
func (w *Waiting) Answer() (Answer, bool) {
	select {
	case <-w.p.done:
		w.p.done <- struct{}{}
		return Answer{Result: w.p.outcome.result, Version: w.p.outcome.version, Err: w.p.outcome.err}, true
	default:
		return Answer{}, false
	}
}
