package profile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"carryon/api/internalapi"
	"carryon/command"
	"carryon/domain"
	"carryon/infra/forward"
)

// peers is how this process shares the shards with others: it tells of itself, follows who else is there, and hands over
// what is another's. Until it has joined, and in a process that only runs one command, every shard belongs here: that
// may be slow, and is never wrong.
type peers struct {
	name    string
	keys    internalapi.Keys
	members command.Members
	client  *forward.Client
	roster  atomic.Pointer[command.Roster]
	uses    func(context.Context) (command.Uses, error) // what this process tells of itself; nil: nothing
	wall    func() time.Time                            // what requests between processes are signed and checked by
	logger  *slog.Logger
	server  *http.Server
	served  chan error
}

var (
	_ command.Ownership = (*peers)(nil)
	_ command.Readers   = (*peers)(nil)
	_ forward.Addresses = (*peers)(nil)
)

func newPeers(name string, key []byte, members command.Members, wall func() time.Time, logger *slog.Logger) (*peers, error) {
	p := &peers{name: name, keys: internalapi.Keys{key}, members: members, wall: wall, logger: logger}
	var err error
	if p.client, err = forward.New(forward.Config{Addresses: p, Keys: p.keys, Now: wall}); err != nil {
		return nil, err
	}
	return p, nil
}

// Owner is whom a shard belongs to.
func (p *peers) Owner(shard int) (string, bool) {
	if r := p.roster.Load(); r != nil {
		return r.Owner(shard)
	}
	return p.name, true
}

// Address is where a process can be reached.
func (p *peers) Address(process string) (string, bool) {
	if r := p.roster.Load(); r != nil {
		return r.Address(process)
	}
	return "", false
}

// ReadUpTo says what all processes read.
func (p *peers) ReadUpTo(typ string) (int, []string) {
	if r := p.roster.Load(); r != nil {
		return r.ReadUpTo(typ)
	}
	return domain.SchemaVersion(typ), nil
}

// watch tells of this process, which writes nothing: others write what it can read.
func (p *peers) watch(ctx context.Context, roles []string, shards int, registry prometheus.Registerer) error {
	return p.enlist(ctx, command.Member{Roles: roles}, shards, registry)
}

// enlist begins to tell of this process, and to follow who else is there.
func (p *peers) enlist(ctx context.Context, self command.Member, shards int, registry prometheus.Registerer) error {
	self.Name, self.Reads = p.name, command.ReadVersions()
	roster, err := command.NewRoster(p.members, command.RosterConfig{Self: self, Shards: shards, Uses: p.uses}, registry, p.logger)
	if err != nil {
		return err
	}
	roster.Start(ctx)
	p.roster.Store(roster)
	return nil
}

// join listens for other processes and tells of this one, which writes shards.
func (p *peers) join(ctx context.Context, local *command.App, roles []string, listen, address string, shards int, registry prometheus.Registerer) error {
	handler, err := internalapi.NewHandler(local, internalapi.Options{Keys: p.keys, Now: p.wall, Logger: p.logger})
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("internal-listen: %w", err)
	}
	if address == "" {
		address = listener.Addr().String()
		if host, ok := listener.Addr().(*net.TCPAddr); ok && host.IP.IsUnspecified() {
			return errors.Join(errors.New("internal-address is needed: internal-listen names no address that others can reach this process by"), listener.Close())
		}
	}
	p.server = &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute}
	p.served = make(chan error, 1)
	go func() { p.served <- p.server.Serve(listener) }() // ends with leave
	if err := p.enlist(ctx, command.Member{Address: "http://" + address, Roles: roles}, shards, registry); err != nil {
		return errors.Join(err, p.leave(ctx))
	}
	return nil
}

// depart takes this process off the list: its shards are handed over while it still answers.
func (p *peers) depart(ctx context.Context) error {
	if r := p.roster.Load(); r != nil {
		return r.Leave(ctx)
	}
	return nil
}

// leave ends what join began.
func (p *peers) leave(ctx context.Context) error {
	p.client.Close()
	var errs []error
	if p.server != nil {
		if err := p.server.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("ending the requests of other processes: %w", err), p.server.Close())
		}
		if err := <-p.served; !errors.Is(err, http.ErrServerClosed) {
			errs = append(errs, fmt.Errorf("serving other processes: %w", err))
		}
		p.server = nil
	}
	if r := p.roster.Load(); r != nil {
		r.Close()
	}
	return errors.Join(errs...)
}
