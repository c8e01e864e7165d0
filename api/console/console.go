// Package console is the way in for people: pages for support, analysts and operators, rendered here. A page asks the
// query API and the command API what anybody could ask them, with the token of whoever looks: so the same roles, the
// same pseudonyms, the same records of who looked at whom, and no second way to anything.
package console

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"carryon/api/web"
	"carryon/domain"
)

// Options are what the console works with.
type Options struct {
	Tokens   *web.Tokens       // knows who signs in
	Queries  http.RoundTripper // answers /v1 as the query API does: see Local
	Commands http.RoundTripper // answers /v1 as the command API does: see Local and Remote; nil: there are no acts here
	Clock    func() time.Time  // nil: the real one
}

// Console serves the pages.
type Console struct {
	o      Options
	pages  map[string]*page
	assets map[string]*asset
	cross  *http.CrossOriginProtection
}

// roles are those that the console has pages for. Devices and services talk to the APIs.
var roles = []domain.Role{domain.RoleSupport, domain.RoleAnalyst, domain.RoleOperator}

// Mount adds the pages to a gateway, at /.
func Mount(g *web.Gateway, o Options) error {
	if o.Tokens == nil || o.Queries == nil {
		return errors.New("mounting the console: it needs tokens and the query API")
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	c := &Console{o: o, cross: http.NewCrossOriginProtection()}
	var err error
	if c.assets, err = readAssets(); err != nil {
		return fmt.Errorf("mounting the console: %w", err)
	}
	if c.pages, err = readPages(c.assets); err != nil {
		return fmt.Errorf("mounting the console: %w", err)
	}
	c.routes(g)
	return nil
}

func (c *Console) routes(g *web.Gateway) {
	g.Page("GET", "/assets/{name}", c.asset)
	g.Page("GET", "/sign-in", c.signInPage)
	g.Page("POST", "/sign-in", c.signIn)
	g.Page("POST", "/theme", c.theme)
	for _, p := range []struct {
		method, pattern string
		show            func(*visit) error
	}{
		{"POST", "/sign-out", (*visit).signOut},
		{"GET", "/", (*visit).home},
		{"GET", "/find", (*visit).find},
		{"GET", "/suggest", (*visit).suggest},
		{"GET", "/customers/{customer}", (*visit).customer},
		{"GET", "/customers/{customer}/timeline/export", (*visit).timelineExport},
		{"GET", "/customers/{customer}/why", (*visit).why},
		{"GET", "/customers/{customer}/decisions/{decision}", (*visit).decision},
		{"GET", "/customers/{customer}/time", (*visit).moments},
		{"GET", "/customers/{customer}/acts/{act}", (*visit).actForm},
		{"POST", "/customers/{customer}/acts/{act}", (*visit).act},
		{"GET", "/search", (*visit).search},
		{"GET", "/search/export", (*visit).searchExport},
		{"GET", "/pseudonyms/{pseudonym}", (*visit).pseudonym},
		{"POST", "/pseudonyms/{pseudonym}", (*visit).resolve},
		{"GET", "/live", (*visit).live},
		{"GET", "/live/events", (*visit).liveEvents},
		{"GET", "/analytics", (*visit).analytics},
		{"GET", "/analytics/export", (*visit).analyticsExport},
		{"GET", "/operations", (*visit).operations},
		{"POST", "/operations/{name}/retry", (*visit).retry},
		{"POST", "/operations/{name}/retry-all", (*visit).retryAll},
		{"POST", "/operations/{name}/rebuild", (*visit).rebuild},
	} {
		g.Page(p.method, p.pattern, c.visited(p.show))
	}
}
