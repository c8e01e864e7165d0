package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"carryon/api/config"
)

type serveCommand struct{}

// Help is shown by --help.
func (serveCommand) Help() string {
	return `Serves the command API, the query API, /livez, /readyz and /metrics on one address, and runs the projectors. Ends in order on SIGINT or SIGTERM: not ready, no new connections, drain, checkpoint, close.

The URL is printed once the server is ready. Tokens: carryon token --role support`
}

// Run serves until the context ends.
func (serveCommand) Run(r *run) error {
	system, err := r.open(OpenOptions{Serves: true})
	if err != nil {
		return err
	}
	defer r.close(system)
	return system.Serve(r.ctx, func(url string) {
		fmt.Fprintf(r.Out, "carryon is ready at %s (data in %s)\n", url, r.config.Data)
	})
}

// open wires the profile, with a logger as configured.
func (r *run) open(o OpenOptions) (System, error) {
	if o.Logger == nil {
		o.Logger = r.logger()
	}
	if !r.config.Loopback() {
		o.Logger.Warn("the server can be reached from other machines, without TLS of its own: put a proxy with TLS before it", "listen", r.config.Listen)
	}
	return r.wiring.Open(r.ctx, r.config, o)
}

// openKept opens what is there: a command that only reads must not make an empty history of a folder that was mistyped,
// and then find it in order.
func (r *run) openKept(o OpenOptions) (System, error) {
	if r.config.Profile == config.ProfileEmbedded {
		if _, err := os.Stat(r.config.Data); err != nil {
			return nil, fmt.Errorf("%w: there is no data folder %s (see --data)", errUsage, r.config.Data)
		}
	}
	return r.open(o)
}

// close ends the system within the shutdown time, also when the command's own context is over.
func (r *run) close(system System) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), r.config.ShutdownTimeout)
	defer cancel()
	if err := system.Close(ctx); err != nil {
		fmt.Fprintln(r.Err, "carryon: closing:", err)
	}
}

func (r *run) logger() *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(r.config.LogLevel)); err != nil {
		level = slog.LevelInfo // config.Load has checked it
	}
	options := &slog.HandlerOptions{Level: level}
	if r.config.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(r.Err, options))
	}
	return slog.New(slog.NewTextHandler(r.Err, options))
}
