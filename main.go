// Carryon keeps the books of offline viewing: which customer holds which download licence, on which device, until when,
// and why a request was refused.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"carryon/api/cli"
	"carryon/infra/profile"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := cli.Main(ctx, os.Args[1:], profile.Wiring(), cli.Streams{Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(status)
}
