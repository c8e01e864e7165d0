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
	logger  *slog.Logger
	server  *http.Server
	served  chan error
}

var (
	_ command.Ownership = (*peers)(nil)
	_ forward.Addresses = (*peers)(nil)
)

func newPeers(name string, key []byte, members command.Members, logger *slog.Logger) (*peers, error) {
	p := &peers{name: name, keys: internalapi.Keys{key}, members: members, logger: logger}
	var err error
	if p.client, err = forward.New(forward.Config{Addresses: p, Keys: p.keys}); err != nil {
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

// join listens for other processes and tells of this one.
func (p *peers) join(ctx context.Context, local *command.App, listen, address string, shards int, registry prometheus.Registerer) error {
	handler, err := internalapi.NewHandler(local, internalapi.Options{Keys: p.keys, Logger: p.logger})
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
	roster, err := command.NewRoster(p.members, command.RosterConfig{
		Self:   command.Member{Name: p.name, Address: "http://" + address, Roles: []string{command.RoleCommand}, Reads: command.ReadVersions()},
		Shards: shards,
	}, registry, p.logger)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	p.server = &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute}
	p.served = make(chan error, 1)
	go func() { p.served <- p.server.Serve(listener) }() // ends with leave
	roster.Start(ctx)
	p.roster.Store(roster)
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
	if p.server == nil {
		return nil
	}
	err := p.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("ending the requests of other processes: %w", err), p.server.Close())
	}
	if served := <-p.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serving other processes: %w", served))
	}
	p.roster.Load().Close()
	p.server = nil
	return err
}
