package profile

import (
	"net/http"
	"net/url"

	"carryon/api/console"
	"carryon/api/web"
	"carryon/command"
)

// mountConsole adds the pages to a process that answers queries. Acts go to the command API of this process, or to the
// one that was named.
func (s *System) mountConsole(gateway *web.Gateway, tokens *web.Tokens) error {
	o := console.Options{Tokens: tokens, Queries: console.Local(gateway), Clock: s.clock}
	if s.has(command.RoleCommand) {
		o.Commands = console.Local(gateway)
	} else if base, err := url.Parse(s.config.CommandURL); err == nil && base.Host != "" {
		o.Commands = console.Remote(base, http.DefaultTransport)
	}
	return console.Mount(gateway, o)
}
