package profile

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"carryon/api/commandapi"
	"carryon/api/queryapi"
	"carryon/api/web"
	"carryon/command"
	"carryon/projector"
)

// startTransport subscribes the read models to what the writers publish.
func (s *System) startTransport(ctx context.Context) error {
	t, err := s.outside.newTransport(s)
	if err != nil {
		return err
	}
	if err := t.Start(ctx); err != nil {
		return err
	}
	s.transport.Store(&t)
	return nil
}

// stopTransport publishes what still waits and ends the subscriptions.
func (s *System) stopTransport() error {
	t := s.transport.Swap(nil)
	if t == nil {
		return nil
	}
	return (*t).Close()
}

// Serve runs the projectors and serves HTTP until ctx ends. Then, in order and bounded by the shutdown time: the shards
// are others', not ready, no new connections, requests under way finish, the writers settle, what was published is
// projected.
func (s *System) Serve(ctx context.Context, announce func(url string)) error {
	handler, health, err := s.handler()
	if err != nil {
		return err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	if err := s.startTransport(background); err != nil {
		return err
	}
	if err := s.join(background); err != nil {
		return errors.Join(err, s.stopTransport())
	}
	projected := make(chan error, 1)
	go func() { projected <- s.project(background) }() // ends with stop
	server, err := web.Listen(ctx, web.ServerOptions{
		Listen: s.config.Listen, Handler: handler, Health: health, Logger: s.logger,
		LongestRoute: max(s.config.CommandTimeout, s.config.QueryTimeout) + time.Second,
	})
	if err != nil {
		stop()
		return errors.Join(err, <-projected, s.leave(context.WithoutCancel(ctx)), s.stopTransport())
	}
	if announce != nil {
		announce(server.URL())
	}
	select {
	case <-ctx.Done():
		s.logger.Info("shutting down")
	case <-server.Ended():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.ShutdownTimeout)
	defer cancel()
	s.live.Close() // or they would be waited for
	errs := []error{s.depart(bounded), server.Shutdown(bounded), s.closeWriters(bounded), s.leave(bounded), s.stopTransport()}
	stop()
	if err := <-projected; err != nil && !errors.Is(err, projector.ErrHistoryDiffers) { // that was logged and shown as it happened
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// join makes this process one of those that share the shards, if there are others.
func (s *System) join(ctx context.Context) error {
	if s.peers == nil {
		return nil
	}
	s.peers.uses = s.uses
	if !s.has(command.RoleCommand) {
		return s.peers.watch(ctx, s.config.Roles, s.layout.customerShards, s.registry)
	}
	return s.peers.join(ctx, s.app.Local(), s.config.Roles, s.config.InternalListen, s.config.InternalAddress, s.layout.customerShards, s.registry)
}

// departPatience bounds how long requests wait for the list of members: leaving it is polite, and answering is owed.
const departPatience = 3 * time.Second

func (s *System) depart(ctx context.Context) error {
	if s.peers == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, departPatience)
	defer cancel()
	return s.peers.depart(ctx)
}

func (s *System) leave(ctx context.Context) error {
	if s.peers == nil {
		return nil
	}
	return s.peers.leave(ctx)
}

// project runs the projectors, if this process has them, until ctx ends; else it only follows what others promote.
func (s *System) project(ctx context.Context) error {
	if !s.has(roleProjector) {
		var group sync.WaitGroup
		for _, m := range s.models.all {
			group.Go(func() { m.Watch(ctx) })
		}
		group.Wait()
		return nil
	}
	audits := newAuditor(s)
	var beside sync.WaitGroup
	beside.Go(func() { audits.run(ctx) })
	defer beside.Wait()
	return s.models.runners.Run(ctx)
}

// handler is the APIs of this process on one gateway, with health and metrics.
func (s *System) handler() (http.Handler, *web.Health, error) {
	health := &web.Health{Checks: s.checks()}
	tokens := web.NewTokens(tokenKeys{s.keys.Tokens}, s.wall)
	gateway := web.NewGateway(web.GatewayOptions{
		Tokens: tokens, Health: health, Logger: s.logger,
		Registerer: s.registry, Gatherer: s.registry, MaxInFlight: s.config.MaxInFlight,
	})
	if s.has(command.RoleCommand) {
		if _, err := commandapi.Mount(gateway, s.app, commandapi.Options{Timeout: s.config.CommandTimeout, Version: version()}); err != nil {
			return nil, nil, err
		}
	}
	if s.has(roleQuery) {
		if _, err := queryapi.Mount(gateway, s.queries, queryapi.Options{Timeout: s.config.QueryTimeout, Version: version()}); err != nil {
			return nil, nil, err
		}
		if err := s.mountConsole(gateway, tokens); err != nil {
			return nil, nil, err
		}
	}
	return gateway, health, nil
}

// checks are the dependencies, and what each one's absence costs. What stops only a part of a process does not make it
// unready: it is said, and the rest goes on.
func (s *System) checks() []web.Check {
	commands := s.has(command.RoleCommand)
	checks := []web.Check{{
		Name: "log", Costs: s.costOfLog(), Optional: !commands,
		Probe: func(ctx context.Context) error { _, err := s.log.Head(ctx, s.layout.customerShards); return err },
	}}
	if commands {
		checks = append(checks, web.Check{
			Name: "reference", Costs: "no command is taken: policies and withdrawals are too old",
			Probe: func(ctx context.Context) error { _, err := s.reference.Reference(ctx); return err },
		})
	}
	checks = append(checks, s.outside.checks(s)...)
	if !s.has(roleProjector) {
		return checks
	}
	for _, runner := range s.models.runners {
		checks = append(checks, web.Check{
			Name: "read model " + runner.Name(), Costs: "answers from this read model are out of date", Optional: true,
			Probe: func(context.Context) error {
				for _, st := range runner.Status() {
					if st.Differs {
						return fmt.Errorf("shard %d: %s", st.Shard, st.Err)
					}
				}
				return nil
			},
		})
	}
	return checks
}

func (s *System) costOfLog() string {
	switch {
	case s.has(command.RoleCommand):
		return "no command is taken, nothing authoritative is answered"
	case s.has(roleProjector):
		return "read models stand still, nothing authoritative is answered"
	default:
		return "nothing authoritative is answered; what is projected is"
	}
}
