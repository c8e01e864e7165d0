// Package elastic keeps the search in Elasticsearch: one index for each generation, so that the search can be built anew
// beside itself.
//
// Elasticsearch has no transactions. What takes their place: a document has the event's own name, stream/seq, and an
// event never changes, so that writing it again changes nothing; and the checkpoint of a shard, in the same index, is
// written last, on the condition that nobody has written it meanwhile. So after any failure the same events come again,
// and of two who work on a shard one gets through. What differs from other stores by that is in docs/search.md.
package elastic

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"time"
)

// Config says where the servers are and how to use them. Zero values stand for the defaults.
type Config struct {
	Addresses []string // as https://host:9200; requests are spread over them

	Username     string
	Password     string // better: PasswordFile
	PasswordFile string // read anew now and then, so that a password can be changed
	APIKeyFile   string // an encoded API key, instead of user name and password; read anew now and then
	CAFile       string // PEM, of those who may sign the servers' certificates; empty: the system's

	// Prefix begins the name of every index, alias and template. Default carryon.
	Prefix string
	// Replicas is how many copies each index has besides the first. Nil: 1; more than there are servers to hold them do
	// no harm but a yellow health.
	Replicas *int
	// Primaries is how many parts a new index has. Default 1, which some hundred million events fit into; facets of
	// fields with many values are exact with one only.
	Primaries int
	// RefreshInterval is how long it takes until an event is found that nobody waits for. Default 1 s.
	RefreshInterval time.Duration

	BulkBytes int // of one bulk request, about; default 4 MiB
	BulkEach  int // documents of one bulk request, when there are more than one request's worth; default 2,500
	InFlight  int // bulk requests at once, of this process; default 2
	// Patience is how long a request is repeated that the servers refuse because they are busy; then it has failed for
	// now. Default 30 s.
	Patience time.Duration
	// RequestTimeout is how long the servers may take for one request. Default 30 s.
	RequestTimeout time.Duration

	transport http.RoundTripper // of tests
}

var prefixPattern = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,49}$`)

// Bounds of settings.
const (
	maxReplicas  = 10
	maxPrimaries = 64
	maxInFlight  = 64
	minBulkBytes = 64 << 10
	maxBulkBytes = 64 << 20 // the servers' own default is 100 MiB
)

// Validate names every field that is wrong.
func (c Config) Validate() error {
	var errs []error
	must := func(ok bool, field, problem string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s "+problem, append([]any{field}, args...)...))
		}
	}
	must(len(c.Addresses) > 0, "Addresses", "are missing")
	for _, a := range c.Addresses {
		u, err := url.Parse(a)
		must(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && (u.Path == "" || u.Path == "/") && u.RawQuery == "",
			"Addresses", "hold one that is not as https://host:9200")
		must(err != nil || u.User == nil, "Addresses", "hold a user name; Username and PasswordFile are there for it")
	}
	must(c.Password == "" || c.PasswordFile == "", "Password", "and PasswordFile are both given")
	must(c.APIKeyFile == "" || c.Username == "", "APIKeyFile", "and Username are both given")
	must((c.Username == "") == (c.Password == "" && c.PasswordFile == ""), "Username", "and a password go together")
	for _, f := range []struct{ field, path string }{{"PasswordFile", c.PasswordFile}, {"APIKeyFile", c.APIKeyFile}, {"CAFile", c.CAFile}} {
		if f.path != "" {
			_, err := os.ReadFile(f.path)
			must(err == nil, f.field, "can't be read: %v", err)
		}
	}
	must(c.Prefix == "" || prefixPattern.MatchString(c.Prefix), "Prefix", "is %q; up to 50 of a-z, 0-9, _ and - are possible, a letter first", c.Prefix)
	must(c.Replicas == nil || *c.Replicas >= 0 && *c.Replicas <= maxReplicas, "Replicas", "must be 0 to %d", maxReplicas)
	must(c.Primaries >= 0 && c.Primaries <= maxPrimaries, "Primaries", "is %d; 1 to %d are possible", c.Primaries, maxPrimaries)
	must(c.InFlight >= 0 && c.InFlight <= maxInFlight, "InFlight", "is %d; 1 to %d are possible", c.InFlight, maxInFlight)
	must(c.BulkBytes == 0 || c.BulkBytes >= minBulkBytes && c.BulkBytes <= maxBulkBytes, "BulkBytes", "is %d; %d to %d are possible", c.BulkBytes, minBulkBytes, maxBulkBytes)
	must(c.BulkEach >= 0, "BulkEach", "is %d; it must be positive", c.BulkEach)
	for _, d := range []struct {
		field string
		d     time.Duration
	}{{"RefreshInterval", c.RefreshInterval}, {"Patience", c.Patience}, {"RequestTimeout", c.RequestTimeout}} {
		must(d.d == 0 || d.d >= time.Millisecond, d.field, "is %s; it must be a millisecond at least", d.d)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("settings of elasticsearch: %w", err)
	}
	return nil
}

func (c Config) withDefaults() Config {
	one := 1
	orDefault(&c.Prefix, "carryon")
	orDefault(&c.Replicas, &one)
	orDefault(&c.Primaries, 1)
	orDefault(&c.RefreshInterval, time.Second)
	orDefault(&c.BulkBytes, 4<<20)
	orDefault(&c.BulkEach, 2500)
	orDefault(&c.InFlight, 2)
	orDefault(&c.Patience, 30*time.Second)
	orDefault(&c.RequestTimeout, 30*time.Second)
	return c
}

func orDefault[T comparable](v *T, fallback T) {
	var zero T
	if *v == zero {
		*v = fallback
	}
}

// trusted are those who may sign the servers' certificates; nil: the system's.
func (c Config) trusted() (*x509.CertPool, error) {
	if c.CAFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("CAFile of elasticsearch: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CAFile of elasticsearch: %s holds no certificate", c.CAFile)
	}
	return pool, nil
}
