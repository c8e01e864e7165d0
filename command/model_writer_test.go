package command_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"carryon/command"
	"carryon/domain"
	"carryon/infra/conformance"
)

// writer is a process's shard writer, one life after the other.
type writer struct {
	w       *model
	n       int
	life    int
	name    string
	wire    *wire
	core    *command.Core
	skew    time.Duration
	jobs    []*job // not yet made
	answers []*job // made, and not yet told
	history uint64 // of what it was told
	number  int    // of jobs
	burst   bool   // it has yet to decide
}

// job is something the writer wants done.
type job struct {
	command.Job
	number uint64
	digest uint64
	co     *coroutine // of those that make several calls
	tell   func()
}

func (p *writer) begin() {
	w := p.w
	p.name = fmt.Sprintf("w%d.%d", p.n, p.life)
	p.wire = w.connect()
	p.jobs, p.answers, p.number, p.burst = nil, nil, 0, false
	p.history = mix(uint64(p.n), uint64(p.life))
	cfg := command.WriterConfig{Name: p.name, PublishQueue: 1}
	if w.config != nil {
		w.config(&cfg)
	}
	made, err := command.NewWriter(cfg, command.WriterPorts{
		Log: p.wire, Histories: p.wire, Snapshots: p.wire, Folding: conformance.TallyFolding(), Metrics: modelMetrics,
		Reference: func(context.Context) (domain.Reference, error) { return conformance.NoReference{}, nil },
		Clock:     func() time.Time { return w.now.Add(p.skew) },
		Random:    rand.NewPCG(w.seed+uint64(p.n), uint64(p.life)),
	})
	if err != nil {
		panic(err) // the scenario is wrong
	}
	p.core = command.NewCore(made, modelShard)
	p.core.Published = w.publish
	p.step()
}

// told notes something that the writer was told.
func (p *writer) told(v uint64) { p.history = mix(p.history, v) }

// step lets the writer decide, and takes what it wants done.
func (p *writer) step() {
	p.burst = false
	for again := true; again; {
		again = false
		for _, j := range p.core.Step() {
			p.number++
			made := &job{Job: j, number: uint64(p.number)}
			switch {
			case p.atOnce(j.Kind):
				p.make(made, none)
				p.told(made.digest)
				made.tell()
				again = true
			case j.Kind == "pause":
				made.tell = j.Do(context.Background())
				p.answers = append(p.answers, made)
			case j.Kind == "load" || j.Kind == "events" || j.Kind == "forward":
				made.co = p.w.begin(func() func() { return j.Do(context.Background()) })
				p.wait(made)
			default:
				p.jobs = append(p.jobs, made)
			}
		}
	}
	p.w.collect()
	if p.core.Stopped() != nil && p.w.ledger.forgot == 0 {
		p.w.ledger.breaks("%s is stopped: %w", p.name, p.core.Stopped())
	}
}

// atOnce tells whether nothing happens between the wish for a job and its end.
func (p *writer) atOnce(kind string) bool {
	switch kind {
	case "derive", "save", "progress":
		return !p.w.slow
	}
	return false
}

// wait keeps a job that stands before a call, or one that is through.
func (p *writer) wait(j *job) {
	if j.co.over {
		j.tell, j.digest = j.co.results, j.co.digest
		p.answers = append(p.answers, j)
		return
	}
	p.jobs = append(p.jobs, j)
}

// make makes a job's next call.
func (p *writer) make(j *job, f fault) {
	w := p.w
	if j.co != nil {
		w.resume(j.co, f)
		return
	}
	before, digest := w.running, w.digest
	w.running, w.digest, w.fault = nil, 0, f
	j.tell = j.Do(context.Background())
	j.digest = w.digest
	w.running, w.digest, w.fault = before, digest, none
}

// perform lets the n-th job make its next call.
func (p *writer) perform(n int, f fault) {
	j := p.jobs[n]
	p.jobs = slices.Delete(p.jobs, n, n+1)
	p.make(j, f)
	if j.co != nil {
		p.wait(j)
		return
	}
	p.answers = append(p.answers, j)
}

// hear tells the writer what came of a job.
func (p *writer) hear(n int, burst bool) {
	j := p.answers[n]
	p.answers = slices.Delete(p.answers, n, n+1)
	p.told(mix(j.number, j.digest))
	j.tell()
	p.decide(burst)
}

// decide lets the writer decide, unless more arrives first.
func (p *writer) decide(burst bool) {
	if burst {
		p.burst = true
		p.told(3)
		return
	}
	p.step()
}

// oldest does the oldest thing that can be done.
func (p *writer) oldest() bool {
	for n, j := range p.jobs {
		if j.blocked() {
			continue
		}
		p.perform(n, none)
		return true
	}
	if len(p.answers) > 0 {
		p.hear(0, false)
		return true
	}
	if p.burst {
		p.step()
		return true
	}
	return false
}

func (j *job) blocked() bool { return j.co != nil && j.co.ready != nil && !j.co.ready() }

func (j *job) name() string {
	switch {
	case j.co != nil:
		return fmt.Sprintf("%s %s: %s", j.Kind, j.Stream, j.co.call)
	case j.Entry != nil:
		return fmt.Sprintf("claim of entry %d%s", j.Entry.Index, commandsOf(j.Entry))
	}
	return j.Kind
}

func commandsOf(e *domain.Entry) (names string) {
	for i := range e.Events {
		names += " " + e.Events[i].CommandID
	}
	return names
}

// crash ends the life of the process and begins the next. What it had claimed may be on its way.
func (p *writer) crash(claiming bool) {
	w := p.w
	for _, j := range p.jobs {
		if claiming && j.Kind == "claim" {
			w.late = append(w.late, sent(j.Entry))
		}
	}
	p.end()
	w.calls = slices.DeleteFunc(w.calls, func(c *call) bool {
		if c.at != p {
			return false
		}
		c.dead, c.given.unknown = true, true
		if c.client != nil && c.client.waiting == c {
			c.client.lost()
		}
		return true
	})
	p.life++
	p.begin()
}

func (p *writer) end() {
	for _, j := range p.jobs {
		if j.co != nil {
			j.co.stop()
		}
	}
	p.jobs = nil
}

func (p *writer) fingerprint() uint64 {
	h := p.history
	sum := oneIf(p.burst)
	for _, j := range p.jobs {
		v := mix(41, j.number)
		if j.co != nil {
			v = mix(v, j.co.digest)
		}
		sum += v
	}
	for _, j := range p.answers {
		sum += mix(mix(43, j.number), j.digest)
	}
	return mix(h, sum)
}
