package profile

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"carryon/api/cli"
	"carryon/api/config"
	"carryon/api/web"
	"carryon/infra/catalogue"
	"carryon/infra/sqlite"
	"carryon/infra/watermill"
)

// embedded is everything in one process and one folder: SQLite for log and read models, Watermill's GoChannel between.
type embedded struct{}

// OpenEmbedded opens the data folder and wires everything.
func OpenEmbedded(ctx context.Context, c *config.Config, o cli.OpenOptions) (*System, error) {
	moreProcessors()
	if !o.Serves {
		fewerCollections()
	}
	return open(ctx, c, o, embedded{})
}

// moreProcessors lets the runtime use more of what it calls processors than there are: SQLite writes and syncs in system
// calls, and each keeps one of them from running anything until the runtime notices, up to 10 ms later. Half as many
// again, but not more than there are files: with twice as many on two processors, threads wait for each other and
// commands take a tenth longer. GOMAXPROCS in the environment stands.
var moreProcessors = sync.OnceFunc(func() {
	const files = 7 // the log and six read models
	if os.Getenv("GOMAXPROCS") == "" {
		n := runtime.GOMAXPROCS(0)
		runtime.GOMAXPROCS(n + min((n+1)/2, files))
	}
})

func (embedded) openStores(ctx context.Context, s *System) (err error) {
	s.layout.customerShards = 1
	dir := s.config.Data
	if s.keys, err = openKeys(s.config); err != nil {
		return err
	}
	if s.catalogue, err = catalogue.Open(filepath.Join(dir, "catalogue")); err != nil {
		return err
	}
	vault, err := openVault(ctx, s.config)
	if err != nil {
		return err
	}
	s.vault = vault
	s.onClose(func(context.Context) error { return vault.Close() })
	log, err := sqlite.OpenLog(ctx, filepath.Join(dir, "carryon.db"), sqlite.LogConfig{Shards: s.layout.customerShards})
	if err != nil {
		return err
	}
	s.log = log
	s.onClose(func(context.Context) error { return log.Close() })
	return nil
}

func (embedded) settle(ctx context.Context, s *System) error { return s.writer.Ready(ctx) }

func (embedded) prepare(context.Context, *System) error { return nil } // opening has made it

func (embedded) checks(*System) []web.Check { return nil } // it is all in this process

func (embedded) livePoll() time.Duration { return 0 }

func (embedded) newTransport(s *System) (transport, error) {
	return watermill.NewInProcess(watermill.Config{Logger: s.logger}, s.shared, s.registry, s.models.runners...)
}
