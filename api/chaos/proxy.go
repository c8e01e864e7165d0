package chaos

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Mode is what a proxy does to what passes.
type Mode int

// The modes.
const (
	Pass        Mode = iota
	Cut              // connections are closed, and new ones at once
	Slow             // everything passes later
	HalfOpen         // everything is swallowed, and nobody is told
	LoseAnswers      // what is asked passes, answers are swallowed: it was done, and nobody knows
)

// Proxy stands between two ends of TCP connections.
type Proxy struct {
	listener net.Listener
	serving  sync.WaitGroup
	closed   chan struct{}

	mu     sync.Mutex
	target string
	mode   Mode
	delay  time.Duration
	links  map[*link]struct{}
}

// link is one connection through the proxy.
type link struct {
	asking, answering net.Conn
	torn              bool // something was swallowed: what comes after can't be understood
}

// NewProxy listens, and passes on to a target, which may be told later.
func NewProxy(listen, target string) (*Proxy, error) {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("a proxy: %w", err)
	}
	p := &Proxy{listener: listener, target: target, closed: make(chan struct{}), links: map[*link]struct{}{}}
	p.serving.Go(p.accept) // ends with Close
	return p, nil
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Target says where new connections go from now on.
func (p *Proxy) Target(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = address
}

// Set changes what happens to connections from now on, those that are open and new ones.
func (p *Proxy) Set(mode Mode, delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode, p.delay = mode, delay
	for l := range p.links {
		if mode == Cut || l.torn && mode != HalfOpen && mode != LoseAnswers {
			l.close()
		}
	}
}

// Close ends everything.
func (p *Proxy) Close() {
	p.mu.Lock()
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	_ = p.listener.Close()
	for l := range p.links {
		l.close()
	}
	p.mu.Unlock()
	p.serving.Wait()
}

func (l *link) close() {
	_ = l.asking.Close()
	_ = l.answering.Close()
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.serving.Go(func() { p.serve(conn) }) // ends with either end, or with Close
		}
	}
}

func (p *Proxy) serve(asking net.Conn) {
	p.mu.Lock()
	target, mode := p.target, p.mode
	p.mu.Unlock()
	if mode == Cut || target == "" {
		_ = asking.Close()
		return
	}
	answering, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		_ = asking.Close()
		return
	}
	l := &link{asking: asking, answering: answering}
	p.mu.Lock()
	select {
	case <-p.closed:
		p.mu.Unlock()
		l.close()
		return
	default:
	}
	p.links[l] = struct{}{}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.pump(l, l.answering, l.asking, false) })
	p.pump(l, l.asking, l.answering, true)
	both.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// pump passes on what comes from one end, until either end is closed.
func (p *Proxy) pump(l *link, to, from net.Conn, answers bool) {
	defer l.close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !p.pass(l, answers) {
			continue
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits as long as the mode has it, and tells whether what came is passed on.
func (p *Proxy) pass(l *link, answers bool) bool {
	p.mu.Lock()
	mode, delay := p.mode, p.delay
	swallow := l.torn || mode == HalfOpen || mode == LoseAnswers && answers
	// Within a torn connection the questions still reach the other end while only answers are lost.
	if swallow && mode == LoseAnswers && !answers {
		swallow = false
	}
	if swallow {
		l.torn = true
	}
	p.mu.Unlock()
	if swallow {
		return false
	}
	if mode == Slow {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-p.closed:
		}
	}
	return true
}
