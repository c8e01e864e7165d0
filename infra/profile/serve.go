package profile

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"carryon/api/commandapi"
	"carryon/api/queryapi"
	"carryon/api/web"
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

// Serve runs the projectors and serves HTTP until ctx ends. Then, in order and bounded by the shutdown time: not ready,
// no new connections, requests under way finish, the writers settle (Close), what was published is projected.
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
	projected := make(chan error, 1)
	go func() { projected <- s.models.runners.Run(background) }() // ends with stop
	server, err := web.Listen(ctx, web.ServerOptions{
		Listen: s.config.Listen, Handler: handler, Health: health, Logger: s.logger,
		LongestRoute: max(s.config.CommandTimeout, s.config.QueryTimeout) + time.Second,
	})
	if err != nil {
		stop()
		return errors.Join(err, <-projected, s.stopTransport())
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
	errs := []error{server.Shutdown(bounded), s.closeWriters(bounded), s.stopTransport()}
	stop()
	if err := <-projected; err != nil && !errors.Is(err, projector.ErrHistoryDiffers) { // that was logged and shown as it happened
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// handler is both APIs on one gateway, with health and metrics.
func (s *System) handler() (http.Handler, *web.Health, error) {
	health := &web.Health{Checks: s.checks()}
	gateway := web.NewGateway(web.GatewayOptions{
		Tokens: web.NewTokens(tokenKeys{s.keys.Tokens}, nil), Health: health, Logger: s.logger,
		Registerer: s.registry, Gatherer: s.registry, MaxInFlight: s.config.MaxInFlight,
	})
	if _, err := commandapi.Mount(gateway, s.app, commandapi.Options{Timeout: s.config.CommandTimeout, Version: version()}); err != nil {
		return nil, nil, err
	}
	if _, err := queryapi.Mount(gateway, s.queries, queryapi.Options{Timeout: s.config.QueryTimeout, Version: version()}); err != nil {
		return nil, nil, err
	}
	return gateway, health, nil
}

// checks are the dependencies, and what each one's absence costs.
func (s *System) checks() []web.Check {
	checks := []web.Check{{
		Name: "log", Costs: "no command is taken, nothing authoritative is answered",
		Probe: func(ctx context.Context) error { _, err := s.log.Head(ctx, s.layout.customerShards); return err },
	}, {
		Name: "reference", Costs: "no command is taken: policies and withdrawals are too old",
		Probe: func(ctx context.Context) error { _, err := s.reference.Reference(ctx); return err },
	}}
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
