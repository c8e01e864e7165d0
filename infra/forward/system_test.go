package forward_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carryon/api/internalapi"
	"carryon/command"
	"carryon/domain"
	"carryon/infra/forward"
	"carryon/infra/memory"
	"carryon/infra/vault"
)

// system is several processes on one store and one list of members, in pretended time (testing/synctest), with a network
// of pipes between them. Processes may be killed, stopped as by SIGSTOP, or cut off.
type system struct {
	t       *testing.T
	store   *memory.Store
	members *memory.Members
	vault   *vault.Vault
	signer  *signer
	network *network

	fault    func(context.Context, memory.Call) memory.Fault // of every process's store; nil: none
	stubborn bool                                            // processes hold every shard for theirs, although they know of each other

	mu        sync.Mutex
	processes []*process // alive
	born      int
}

const (
	shards  = 6
	claimMs = 3 // a claim takes so long
	ttl     = 4 * time.Second
	settle  = 6 * time.Second
)

var key = internalapi.Keys{[]byte("a key of thirty-two bytes, or so")}

func newSystem(t *testing.T) *system {
	s := &system{t: t, store: memory.NewStore(), members: memory.NewMembers(), vault: vault.NewMemory(), signer: newSigner(), network: &network{doors: map[string]*door{}}}
	t.Cleanup(func() {
		for _, p := range s.alive() {
			p.kill()
		}
	})
	return s
}

// process is one process with everything.
type process struct {
	system *system
	name   string
	gate   gate
	conn   *memory.Connection
	door   *door
	roster *command.Roster
	writer *command.Writer
	ref    *command.ReferenceFollower
	app    *command.App
	client *forward.Client
	server *http.Server
	served sync.WaitGroup
	once   sync.Once

	forwarded atomic.Int64 // commands that came from others
	stops     atomic.Int64 // how often it was halted

	mu    sync.Mutex
	reads []memory.Call // of the logs of customers
}

func (p *process) note(call memory.Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reads = append(p.reads, call)
}

// hasRead are the reads of logs since the last call.
func (p *process) hasRead() []memory.Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	reads := p.reads
	p.reads = nil
	return reads
}

// begin starts a process.
func (s *system) begin() *process {
	s.t.Helper()
	s.mu.Lock()
	s.born++
	name := fmt.Sprintf("process-%d", s.born)
	s.mu.Unlock()
	must := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	p := &process{system: s, name: name, conn: s.store.Connect()}
	p.conn.Inject(func(ctx context.Context, call memory.Call) memory.Fault {
		p.gate.pass(ctx)
		if call.Operation == memory.OpRead && call.Shard != domain.ReferenceShard {
			p.note(call)
		}
		if call.Operation == memory.OpClaim || call.Operation == memory.OpHead {
			pause(ctx, claimMs*time.Millisecond)
		}
		if s.fault != nil {
			return s.fault(ctx, call)
		}
		return memory.None
	})
	p.door = s.network.open(name)
	var err error
	p.roster, err = command.NewRoster(gated{s.members, &p.gate}, command.RosterConfig{
		Self:   command.Member{Name: name, Address: "http://" + name, Roles: []string{command.RoleCommand}, Reads: command.ReadVersions()},
		Shards: shards, Interval: time.Second, TTL: ttl, Settle: settle,
	}, nil, nil)
	must(err)
	p.client, err = forward.New(forward.Config{Addresses: p.roster, Keys: key, DialFunc: s.network.dial(&p.gate)})
	must(err)
	p.ref = command.NewReferenceFollower(p.conn, catalogues{}, command.FollowerConfig{}, nil)
	must(p.ref.Start(s.t.Context()))
	p.writer, err = command.NewWriter(command.WriterConfig{Name: name, Shards: shards, LeapEntries: 50}, command.WriterPorts{
		Log: p.conn, Histories: p.conn, Snapshots: p.conn, Folding: command.DomainFolding(), Reference: p.ref.Reference,
	})
	must(err)
	p.writer.Start()
	var owners command.Ownership = p.roster
	if s.stubborn {
		owners = here{}
	}
	p.app, err = command.NewApp(command.Dependencies{
		Writer: p.writer, Books: command.NewBooks(p.conn, p.conn, command.DomainFolding(), shards), Reference: p.ref, Vault: s.vault, Signer: s.signer,
		Forwarding: &command.Forwarding{To: p.client, Owners: owners, Shards: shards},
	})
	must(err)
	handler, err := internalapi.NewHandler(counted{p.app.Local(), p}, internalapi.Options{Keys: key})
	must(err)
	p.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.gate.pass(r.Context())
		handler.ServeHTTP(w, r)
		p.gate.pass(r.Context())
	})}
	p.served.Go(func() { _ = p.server.Serve(p.door) })
	p.roster.Start(s.t.Context())
	s.mu.Lock()
	s.processes = append(s.processes, p)
	s.mu.Unlock()
	return p
}

// counted counts what other processes have done here.
type counted struct {
	*command.App
	process *process
}

func (c counted) Do(ctx context.Context, what any) (command.Result, error) {
	c.process.forwarded.Add(1)
	return c.App.Do(ctx, what)
}

func (s *system) alive() []*process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.processes)
}

func (s *system) gone(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.processes = slices.DeleteFunc(s.processes, func(other *process) bool { return other == p })
}

// kill ends a process at once: nothing that it does from now on reaches anybody.
func (p *process) kill() {
	p.once.Do(func() {
		p.system.gone(p)
		p.conn.Sever()
		p.door.slam()
		p.gate.open()
		_ = p.server.Close()
		p.end()
	})
}

// leave ends a process in order: it leaves the members, goes on serving for a moment, and then stops.
func (p *process) leave() {
	p.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := p.roster.Leave(ctx); err != nil {
			p.system.t.Error(err)
		}
		p.system.gone(p) // the balancer sends nobody here any more
		pause(ctx, 2*time.Second)
		if err := p.server.Shutdown(ctx); err != nil {
			p.system.t.Errorf("%s: %v", p.name, err)
		}
		p.door.slam()
		p.end()
	})
}

func (p *process) end() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = p.writer.Close(ctx) // what a killed one has not settled it never will
	p.roster.Close()
	p.ref.Close()
	p.client.Close()
	p.served.Wait()
}

// stop halts a process, as SIGSTOP does, until resume.
func (p *process) stop() {
	p.stops.Add(1)
	p.gate.shut()
}

func (p *process) resume() { p.gate.open() }

// gate is open, or holds everyone who wants to pass.
type gate struct {
	mu     sync.Mutex
	closed chan struct{} // nil: open; closed when it opens
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == nil {
		g.closed = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		close(g.closed)
		g.closed = nil
	}
}

// pass waits while the gate is shut. A process that is halted does not see its deadlines pass either.
func (g *gate) pass(context.Context) {
	for {
		g.mu.Lock()
		closed := g.closed
		g.mu.Unlock()
		if closed == nil {
			return
		}
		<-closed
	}
}

// gated is a list of members behind a process's gate.
type gated struct {
	command.Members
	gate *gate
}

func (m gated) Beat(ctx context.Context, member command.Member, ttl time.Duration) error {
	m.gate.pass(ctx)
	return m.Members.Beat(ctx, member, ttl)
}

func (m gated) List(ctx context.Context) ([]command.Member, error) {
	m.gate.pass(ctx)
	return m.Members.List(ctx)
}

// network connects processes by pipes.
type network struct {
	mu    sync.Mutex
	doors map[string]*door
}

// door is a process's listener.
type door struct {
	name  string
	conns chan net.Conn
	shut  chan struct{}
	once  sync.Once
	mu    sync.Mutex
	open  []net.Conn
}

func (n *network) open(name string) *door {
	d := &door{name: name, conns: make(chan net.Conn), shut: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.doors[name] = d
	return d
}

func (n *network) dial(gate *gate) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, _, address string) (net.Conn, error) {
		gate.pass(ctx)
		n.mu.Lock()
		d := n.doors[strings.TrimSuffix(address, ":80")]
		n.mu.Unlock()
		if d == nil {
			return nil, fmt.Errorf("no such host: %s", address)
		}
		client, server := net.Pipe()
		select {
		case d.conns <- server:
			d.mu.Lock()
			d.open = append(d.open, server)
			d.mu.Unlock()
			return client, nil
		case <-d.shut:
			return nil, fmt.Errorf("connection to %s refused", address)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (d *door) Accept() (net.Conn, error) {
	select {
	case c := <-d.conns:
		return c, nil
	case <-d.shut:
		return nil, io.EOF
	}
}

func (d *door) Addr() net.Addr { return d }

func (d *door) Close() error {
	d.once.Do(func() { close(d.shut) })
	return nil
}

// Network and String make a door its own address.
func (d *door) Network() string { return "pipe" }
func (d *door) String() string  { return d.name }

// slam refuses from now on and cuts what is open.
func (d *door) slam() {
	_ = d.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.open {
		_ = c.Close()
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// load is clients, each with customers of its own, who change plans as fast as they are answered and repeat what they
// do not know the outcome of, wherever they are let in.
type load struct {
	system *system
	ctx    context.Context
	stop   context.CancelFunc
	group  sync.WaitGroup

	mu      sync.Mutex
	answers map[string]command.Result // by command id
	given   map[string]string         // customer by command id
	failed  map[string]int            // first answers that were no result, by what they were
	slowest time.Duration
	counts  int
}

var commandIDs atomic.Uint64

func newCommandID() string {
	var raw [16]byte
	ms := uint64(time.Now().UnixMilli())
	raw[0], raw[1], raw[2], raw[3], raw[4], raw[5] = byte(ms>>40), byte(ms>>32), byte(ms>>24), byte(ms>>16), byte(ms>>8), byte(ms)
	raw[6], raw[8] = 0x70, 0x80
	binary.BigEndian.PutUint32(raw[12:], uint32(commandIDs.Add(1)))
	h := hex.EncodeToString(raw[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func meta() command.Meta {
	return command.Meta{CommandID: newCommandID(), Actor: domain.Actor{ID: "billing", Role: domain.RoleService}, Correlation: "req-1"}
}

func (s *system) load(clients int, prefix string) *load {
	ctx, stop := context.WithCancel(context.Background())
	l := &load{system: s, ctx: ctx, stop: stop, answers: map[string]command.Result{}, given: map[string]string{}, failed: map[string]int{}}
	s.t.Cleanup(l.end)
	for n := range clients {
		random := mrand.New(mrand.NewPCG(uint64(n), 7))
		l.group.Go(func() {
			var changes [3]int // by customer: each changes something, and so records an event
			for ctx.Err() == nil {
				i := random.IntN(len(changes))
				changes[i]++
				l.one(random, command.ChangePlan{
					Meta: meta(), Customer: fmt.Sprintf("%s-%d-%d", prefix, n, i), Plan: []string{"standard", "premium"}[changes[i]%2], Country: "DE",
				})
				pause(ctx, time.Duration(20+random.IntN(40))*time.Millisecond)
			}
		})
	}
	return l
}

// one gives a command until it has a result.
func (l *load) one(random *mrand.Rand, c command.ChangePlan) {
	l.mu.Lock()
	l.given[c.CommandID] = c.Customer
	l.mu.Unlock()
	for {
		alive := l.system.alive()
		if len(alive) == 0 {
			return
		}
		p := alive[random.IntN(len(alive))]
		stops := p.stops.Load()
		ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
		begin := time.Now()
		result, err := p.app.ChangePlan(ctx, c)
		cancel()
		p.gate.pass(ctx)
		lost := p.stops.Load() != stops || !slices.Contains(l.system.alive(), p) // its callers have lost their connections with it
		l.note(&c, result, err, time.Since(begin), lost)
		if err == nil {
			return
		}
		if !errors.Is(err, command.ErrUnknown) && !errors.Is(err, command.ErrUnavailable) && !errors.Is(err, command.ErrClosed) && !errors.Is(err, command.ErrOverloaded) {
			l.system.t.Errorf("%s: %v", c.CommandID, err)
			return
		}
		pause(context.Background(), 50*time.Millisecond)
	}
}

func (l *load) note(c *command.ChangePlan, r command.Result, err error, took time.Duration, lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		if !lost {
			l.failed[fmt.Sprint(err)]++
		}
		return
	}
	l.counts++
	l.slowest = max(l.slowest, took)
	l.answers[c.CommandID] = r
}

func (l *load) end() {
	l.stop()
	l.group.Wait()
}

// reset forgets failures and latencies, and returns them.
func (l *load) reset() (failed map[string]int, slowest time.Duration, answered int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	failed, slowest, answered = l.failed, l.slowest, l.counts
	l.failed, l.slowest, l.counts = map[string]int{}, 0, 0
	return failed, slowest, answered
}

// check ends the load and holds the answers against the log: every command in it once, every answer what it says there.
func (l *load) check() {
	l.system.t.Helper()
	l.end()
	t, recorded, seqs, writers := l.system.t, map[string]domain.Event{}, map[domain.StreamID]uint64{}, map[string]int{}
	for shard := range shards + 1 {
		for _, e := range l.system.store.Entries(shard) {
			writers[e.Writer]++
			for _, event := range e.Events {
				if before, twice := recorded[event.CommandID]; twice {
					t.Fatalf("command %s is recorded at %s and at %s", event.CommandID, before.Position, event.Position)
				}
				recorded[event.CommandID] = event
				if seqs[event.Stream]++; event.Seq != seqs[event.Stream] {
					t.Fatalf("%s: event %d where %d should be", event.Stream, event.Seq, seqs[event.Stream])
				}
			}
		}
	}
	for id, answer := range l.answers {
		event, is := recorded[id]
		switch {
		case !is:
			t.Fatalf("command %s was answered and is not in the log", id)
		case len(answer.Events) != 1 || answer.Events[0].ID != event.ID || answer.Version != event.Seq || answer.Position != event.Position:
			t.Errorf("command %s was answered with version %d at %s, and is recorded as %d at %s", id, answer.Version, answer.Position, event.Seq, event.Position)
		case domain.CustomerStream(l.given[id]) != event.Stream:
			t.Errorf("command %s for %s is recorded in %s", id, l.given[id], event.Stream)
		}
	}
	for id := range recorded {
		if _, answered := l.answers[id]; !answered {
			t.Errorf("command %s is in the log and was never answered", id)
		}
	}
	t.Logf("%d commands, entries by writer: %v", len(recorded), writers)
}

// signer signs with one key.
type signer struct{ key ed25519.PrivateKey }

func newSigner() *signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return &signer{key}
}

func (s *signer) KeyID() string { return "key-1" }

func (s *signer) Sign(_ string, message []byte) ([]byte, error) {
	return ed25519.Sign(s.key, message), nil
}

func (s *signer) PublicKeys() []command.PublicKey { return nil }

// catalogue has one film.
type catalogue struct{}

func (catalogue) Version() string { return "catalogue-1" }

func (catalogue) Studio(name string) bool { return name == "aurora" }

func (catalogue) Title(id string) (domain.Title, bool) {
	return domain.Title{
		ID: id, Kind: domain.KindMovie, Name: "The Harbour", Studio: "aurora", Maturity: domain.MaturityTeen,
		Windows: []domain.Window{{}}, RegionRule: domain.RegionCurrent, Downloadable: true,
	}, true
}

type catalogues struct{}

func (catalogues) Current() command.Catalogue { return catalogue{} }

func (catalogues) Version(string) (command.Catalogue, error) { return catalogue{}, nil }
