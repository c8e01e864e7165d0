package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"carryon/domain"
)

// A roster keeps this process known to the others, looks at who else is there, and says whom a shard belongs to. When
// the list can't be read, the last one stands; without any, every shard belongs here.

// Ownership says who writes a shard, as far as this process knows.
type Ownership interface {
	// Owner is the name of the process that a shard belongs to, and whether that is this one.
	Owner(shard int) (name string, here bool)
}

// RosterConfig are the settings of a roster. Self and Shards are needed; other zero values stand for the defaults.
type RosterConfig struct {
	Self     Member        // this process; its Age is counted from Start
	Shards   int           // customer shards
	Interval time.Duration // between beats. Default 1 s
	TTL      time.Duration // after which a process that does not beat is forgotten, in whole seconds. Default 5 s
	Settle   time.Duration // how long a process has to live before it is given shards. Default 10 s
	// Uses tells what this process decides with now. While it fails, the last it told stands. Nil: Self says it.
	Uses    func(ctx context.Context) (Uses, error)
	Timeout time.Duration // of one beat or look. Default 3 s
}

func (c RosterConfig) withDefaults() RosterConfig {
	orDefault(&c.Interval, time.Second)
	orDefault(&c.TTL, 5*time.Second)
	orDefault(&c.Settle, 10*time.Second)
	orDefault(&c.Timeout, 3*time.Second)
	return c
}

func (c RosterConfig) check() error {
	err := c.Self.Check()
	switch {
	case err != nil:
	case c.Shards < 1:
		err = errors.New("there is less than one shard")
	case c.Interval < 1 || c.Settle < 1 || c.Timeout < 1:
		err = errors.New("a time is less than 1")
	case c.TTL%time.Second != 0 || c.TTL < 2*c.Interval:
		err = fmt.Errorf("a TTL of %s is not whole seconds, or not two intervals of %s", c.TTL, c.Interval)
	}
	if err != nil {
		return fmt.Errorf("roster settings: %w", err)
	}
	return nil
}

// Roster follows the list of members. Start it before use.
type Roster struct {
	cfg     RosterConfig
	list    Members
	logger  *slog.Logger
	metrics rosterMetrics

	view      atomic.Pointer[rosterView]
	left      atomic.Bool
	unreached atomic.Bool // the last call failed, and that was logged
	begun     time.Time
	turn      chan struct{} // holds one token: whoever takes it may beat or leave
	uses      Uses          // of this process; whoever has the turn may touch it
	cancel    context.CancelFunc
	loop      sync.WaitGroup
}

var (
	_ Ownership = (*Roster)(nil)
	_ Readers   = (*Roster)(nil)
)

// rosterView is what a look at the list found. It never changes.
type rosterView struct {
	members []Member
	owners  Owners
	behind  map[string]behind
	at      time.Time
}

// behind is who can't read the newest schema version of an event type.
type behind struct {
	version int // that all of them read
	names   []string
}

type rosterMetrics struct {
	members  prometheus.Gauge
	owned    *prometheus.GaugeVec
	failures *prometheus.CounterVec
}

// NewRoster checks the settings. Nothing runs before Start. Registry and logger may be nil.
func NewRoster(list Members, cfg RosterConfig, registry prometheus.Registerer, logger *slog.Logger) (*Roster, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	r := &Roster{cfg: cfg, uses: cfg.Self.Uses, list: list, logger: logger, turn: make(chan struct{}, 1), metrics: rosterMetrics{
		members:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "carryon_members", Help: "Living processes that are known."}),
		owned:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "carryon_shard_owned", Help: "1 when this process holds itself for the shard's owner."}, []string{"shard"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "carryon_members_failures_total", Help: "Calls of the list of members that failed."}, []string{"call"}),
	}}
	r.turn <- struct{}{}
	if registry != nil {
		registry.MustRegister(r.metrics.members, r.metrics.owned, r.metrics.failures, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "carryon_members_age_seconds", Help: "How long ago the list of members was last read; -1: never.",
		}, func() float64 {
			if v := r.view.Load(); v != nil {
				return time.Since(v.at).Seconds()
			}
			return -1
		}))
	}
	return r, nil
}

// Start makes this process known, looks at who else is there, and goes on doing both until Close. It does not fail when
// the list can't be reached: it is advice only.
func (r *Roster) Start(ctx context.Context) {
	r.begun = time.Now()
	r.round(ctx)
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.cancel = cancel
	r.loop.Go(func() {
		tick := time.NewTicker(r.cfg.Interval)
		defer tick.Stop()
		for {
			select {
			case <-running.Done():
				return
			case <-tick.C:
				r.round(running)
			}
		}
	})
}

// Leave takes this process off the list, for good: its shards belong to others from now on. It goes on following who
// they are, so that what still comes in is forwarded.
func (r *Roster) Leave(ctx context.Context) error {
	r.left.Store(true)
	if v := r.view.Load(); v != nil {
		r.see(v.members)
	}
	select {
	case <-r.turn: // no beat of ours is under way, and none will follow
		defer func() { r.turn <- struct{}{} }()
	case <-ctx.Done():
		return fmt.Errorf("leaving the members: %w", context.Cause(ctx))
	}
	if err := r.list.Leave(ctx, r.cfg.Self.Name); err != nil {
		return fmt.Errorf("leaving the members: %w", err)
	}
	return nil
}

// Close ends what Start began.
func (r *Roster) Close() {
	if r.cancel != nil {
		r.cancel()
	}
	r.loop.Wait()
}

// Owner is the name of the process that a shard belongs to, and whether that is this one.
func (r *Roster) Owner(shard int) (name string, here bool) {
	if v := r.view.Load(); v != nil {
		if owner, ok := v.owners.Of(shard); ok {
			return owner.Name, owner.Name == r.cfg.Self.Name
		}
	}
	return r.cfg.Self.Name, true
}

// Address is where a process can be reached, whether it owns shards or not.
func (r *Roster) Address(name string) (string, bool) {
	for _, m := range r.Members() {
		if m.Name == name && m.Address != "" {
			return m.Address, true
		}
	}
	return "", false
}

// ReadUpTo says what all living processes read of an event type. While nobody else is known, that is what this one does.
func (r *Roster) ReadUpTo(typ string) (version int, names []string) {
	if v := r.view.Load(); v != nil {
		if b, ok := v.behind[typ]; ok {
			return b.version, b.names
		}
	}
	return domain.SchemaVersion(typ), nil
}

// Members are the processes that are known.
func (r *Roster) Members() []Member {
	members, _ := r.Known()
	return members
}

// Known are the processes that are known, and when they were looked at; zero: never.
func (r *Roster) Known() ([]Member, time.Time) {
	if v := r.view.Load(); v != nil {
		return v.members, v.at
	}
	return nil, time.Time{}
}

func (r *Roster) round(ctx context.Context) {
	if !r.left.Load() {
		r.beat(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	members, err := r.list.List(ctx)
	if err != nil {
		r.failed(ctx, "list", err)
		return
	}
	if r.unreached.Swap(false) {
		r.logger.Info("the list of members is reached again")
	}
	r.see(members)
}

func (r *Roster) beat(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	select {
	case <-r.turn:
		defer func() { r.turn <- struct{}{} }()
	case <-ctx.Done():
		return
	}
	if r.left.Load() {
		return
	}
	r.look(ctx)
	self := r.cfg.Self
	self.Age, self.Uses = time.Since(r.begun), r.uses
	if err := r.list.Beat(ctx, self, r.cfg.TTL); err != nil {
		r.failed(ctx, "beat", err)
	}
}

// look asks what this process uses, and does not wait long for it: to be known matters more than to be known exactly.
func (r *Roster) look(ctx context.Context) {
	if r.cfg.Uses == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout/10)
	defer cancel()
	if uses, err := r.cfg.Uses(ctx); err == nil {
		r.uses = uses
	}
}

func (r *Roster) failed(ctx context.Context, call string, err error) {
	r.metrics.failures.WithLabelValues(call).Inc()
	if !errors.Is(ctx.Err(), context.Canceled) && !r.unreached.Swap(true) {
		r.logger.Warn("the list of members can't be reached", "call", call, "error", err.Error())
	}
}

// see makes a list of members the one that stands.
func (r *Roster) see(members []Member) {
	sharing := members
	if r.left.Load() {
		sharing = slices.DeleteFunc(slices.Clone(members), func(m Member) bool { return m.Name == r.cfg.Self.Name })
	}
	next := &rosterView{members: members, owners: ShareOut(sharing, r.cfg.Shards, r.cfg.Settle), behind: readersBehind(members), at: time.Now()}
	before := r.view.Swap(next)
	r.metrics.members.Set(float64(len(members)))
	r.tellBehind(before, next)
	if !r.cfg.Self.writes() {
		return
	}
	moved, owned := 0, 0
	for shard := range r.cfg.Shards + 1 {
		owner, _ := next.owners.Of(shard)
		if before != nil {
			if was, _ := before.owners.Of(shard); was.Name != owner.Name {
				moved++
			}
		}
		here := 0.0
		if owner.Name == r.cfg.Self.Name || owner.Name == "" {
			here = 1
			owned++
		}
		r.metrics.owned.WithLabelValues(strconv.Itoa(shard)).Set(here)
	}
	if moved > 0 {
		r.logger.Info("shards have other owners", "moved", moved, "owned_here", owned, "members", len(members))
	}
}

// readersBehind finds who can't read what this program writes.
func readersBehind(members []Member) map[string]behind {
	all := map[string]behind{}
	for typ, newest := range ReadVersions() {
		names := NotReading(members, typ, newest)
		if len(names) == 0 {
			continue
		}
		b := behind{version: newest, names: names}
		for i := range members {
			b.version = min(b.version, members[i].Reads[typ])
		}
		all[typ] = b
	}
	return all
}

// tellBehind logs when older versions begin, or end, to be written.
func (r *Roster) tellBehind(before, now *rosterView) {
	for typ, b := range now.behind {
		if before == nil || !slices.Equal(before.behind[typ].names, b.names) {
			r.logger.Warn("events are written in an older schema version, until all processes are updated", "type", typ, "version", b.version, "behind", b.names)
		}
	}
}
