package chaos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Process is one process of the program, which can be killed, stopped for a while, and started again. Whoever loads it
// does so through a proxy, so that its address stays and its answers can be lost.
type Process struct {
	Name  string
	Roles []string
	// Links are the proxies between it and the outside, by what is at the other end: Clients, Others, or a server's name.
	Links map[string]*Proxy

	program string
	args    []string
	env     []string
	log     string

	turn    sync.Mutex // held by the fault that this process suffers
	mu      sync.Mutex
	offset  time.Duration // of its clock
	cmd     *exec.Cmd
	ended   chan struct{}
	wanted  bool // it shall be running
	stopped bool // by SIGSTOP
}

// The links that are not to servers: Clients is the one through which a process is loaded, Others the one through which
// other processes hand commands over. Cutting the latter hides a process from them.
const (
	Clients = "clients"
	Others  = "processes"
)

// NewProcess describes a process: the program with arguments and an environment, which says what it complains of into a
// file.
func NewProcess(name, program string, roles, args, env []string, log string) (*Process, error) {
	clients, err := NewProxy("127.0.0.1:0", "")
	if err != nil {
		return nil, err
	}
	return &Process{Name: name, Roles: roles, program: program, args: args, env: env, log: log, Links: map[string]*Proxy{Clients: clients}}, nil
}

// Link puts a proxy between the process and an address, under a name, and answers where the process must connect.
func (p *Process) Link(name, target string) (address string, err error) {
	proxy, err := NewProxy("127.0.0.1:0", target)
	if err != nil {
		return "", err
	}
	p.Links[name] = proxy
	return proxy.Addr(), nil
}

// Setenv adds a variable to the environment of the process, from its next start on.
func (p *Process) Setenv(key, value string) { p.env = append(p.env, key+"="+value) }

// Has tells whether the process has a role.
func (p *Process) Has(role string) bool { return slices.Contains(p.Roles, role) }

// URL is where the process is loaded.
func (p *Process) URL() string { return "http://" + p.Links[Clients].Addr() }

var announced = regexp.MustCompile(`ready at (http://\S+)`)

// readyIn is how long a process may take to start, on a machine that does much else.
const readyIn = 3 * time.Minute

// Start starts the process with a clock that is wrong by offset, and waits until it is ready.
func (p *Process) Start(ctx context.Context, offset time.Duration) error {
	ready, ended, err := p.launch(offset)
	if err != nil {
		return err
	}
	timer := time.NewTimer(readyIn)
	defer timer.Stop()
	select {
	case <-ready:
		return nil
	case <-ended:
		return fmt.Errorf("%s did not start, see %s", p.Name, p.log)
	case <-timer.C:
		return fmt.Errorf("%s was not ready in %s, see %s", p.Name, readyIn, p.log)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// launch starts the process and does not wait.
func (p *Process) launch(offset time.Duration) (ready, ended <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(p.program, p.args...)
	cmd.Env = slices.Concat(os.Environ(), p.env, []string{"CARRYON_TESTING=yes", "CARRYON_CLOCK_OFFSET=" + offset.String()})
	cmd.Stderr, cmd.SysProcAttr = log, endsWithUs()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("starting %s: %w", p.Name, err), log.Close())
	}
	isReady, hasEnded := make(chan struct{}), make(chan struct{})
	go func() { // ends with the process
		lines := bufio.NewScanner(out)
		for told := false; lines.Scan(); {
			if found := announced.FindStringSubmatch(lines.Text()); found != nil && !told {
				if u, err := url.Parse(found[1]); err == nil {
					p.Links[Clients].Target(u.Host)
				}
				told = true
				close(isReady)
			}
		}
		_ = cmd.Wait() // its state tells
		_ = log.Close()
		close(hasEnded)
	}()
	p.cmd, p.ended, p.offset, p.wanted, p.stopped = cmd, hasEnded, offset, true, false
	return isReady, hasEnded, nil
}

// signal sends a signal to the process, if it runs.
func (p *Process) signal(s os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	return nil
}

// Kill ends the process at once.
func (p *Process) Kill() error {
	p.mu.Lock()
	p.wanted = false
	ended := p.ended
	p.mu.Unlock()
	if ended == nil {
		return nil
	}
	err := p.signal(syscall.SIGKILL)
	<-ended
	return err
}

// End ends the process in order. One that does not end, or not well, is an error.
func (p *Process) End(ctx context.Context) error {
	p.mu.Lock()
	p.wanted = false
	ended, cmd := p.ended, p.cmd
	p.mu.Unlock()
	if ended == nil {
		return nil
	}
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	timer := time.NewTimer(time.Minute)
	defer timer.Stop()
	select {
	case <-ended:
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return errors.Join(fmt.Errorf("%s was told to end and did not within a minute, see %s", p.Name, p.log), p.Kill())
	}
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s was told to end and ended with status %d, see %s", p.Name, code, p.log)
	}
	return nil
}

// Fell tells whether the process ended although nobody ended it.
func (p *Process) Fell() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.wanted {
		return nil
	}
	select {
	case <-p.ended:
		return fmt.Errorf("%s ended by itself (%s), see %s", p.Name, p.cmd.ProcessState, p.log)
	default:
		return nil
	}
}

// Release kills what still runs and closes the links.
func (p *Process) Release() {
	_ = p.Kill() // it may be gone
	for _, link := range p.Links {
		link.Close()
	}
}
