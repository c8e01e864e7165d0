package profile

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	_ "time/tzdata" // policies name time zones, and not every machine has the database

	"carryon/api/cli"
	"carryon/api/config"
	"carryon/api/web"
	"carryon/command"
	"carryon/domain"
	"carryon/infra/catalogue"
	"carryon/infra/keys"
	"carryon/infra/vault"
)

// Wiring is what the command line works with.
func Wiring() cli.Wiring {
	return cli.Wiring{
		Version: version(),
		Open: func(ctx context.Context, c *config.Config, o cli.OpenOptions) (cli.System, error) {
			if c.Profile == config.ProfileDistributed {
				return OpenDistributed(ctx, c, o)
			}
			if missing := missingRoles(c.Roles); len(missing) > 0 {
				return nil, fmt.Errorf("the embedded profile is one process with all roles; %v is missing in roles", missing)
			}
			return OpenEmbedded(ctx, c, o)
		},
		Restore: restore,
		Keys: func(c *config.Config) (cli.Keys, error) {
			folder := keysDir(c)
			if _, err := os.Stat(folder); err == nil {
				folder = ""
			}
			ring, err := openKeys(c)
			if err != nil {
				return nil, err
			}
			return keyRing{ring, folder}, nil
		},
		Catalogue: func(c *config.Config) (cli.CatalogueFiles, error) {
			store, err := catalogue.Open(filepath.Join(c.Data, "catalogue"))
			if err != nil {
				return nil, err
			}
			return catalogueFiles{store}, nil
		},
	}
}

func missingRoles(roles []string) []string {
	var missing []string
	for _, role := range []string{"command", "projector", "query"} {
		if !slices.Contains(roles, role) {
			missing = append(missing, role)
		}
	}
	return missing
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v += " " + s.Value
		}
	}
	return v + " " + info.GoVersion
}

func openKeys(c *config.Config) (*keys.Ring, error) {
	return keys.Open(keysDir(c), time.Now)
}

func openVault(ctx context.Context, c *config.Config) (*vault.Vault, error) {
	return vault.Open(ctx, vault.Config{
		Path: filepath.Join(c.Data, "vault.db"), MasterKey: c.MasterKey, MasterFile: filepath.Join(c.Data, "master.key"),
	})
}

// keyRing is the folder of keys as the command line sees it.
type keyRing struct {
	*keys.Ring
	madeIn string
}

// MadeIn is the folder of the keys if it was just made.
func (k keyRing) MadeIn() string { return k.madeIn }

// Token signs an access token.
func (k keyRing) Token(role domain.Role, customer, subject string, life time.Duration) (string, error) {
	return k.TokenFrom(role, customer, subject, time.Now(), life)
}

// TokenFrom signs an access token for a time.
func (k keyRing) TokenFrom(role domain.Role, customer, subject string, from time.Time, life time.Duration) (string, error) {
	id, private := k.Tokens.Signer()
	return web.Issue(private, id, web.Identity{Subject: subject, Role: role, Customer: customer}, from, life)
}

// LicenseKeys are the public keys of licences.
func (k keyRing) LicenseKeys() []command.PublicKey { return k.PublicKeys() }

// AddLicenseKey makes a new licence key.
func (k keyRing) AddLicenseKey() (string, error) { return k.Add() }

// tokenKeys are the keys that access tokens are checked with.
type tokenKeys struct{ *keys.Set }

// TokenKey finds a key by its id.
func (k tokenKeys) TokenKey(id string) (ed25519.PublicKey, bool) {
	key, err := k.Verifier(id)
	return key, err == nil
}

// catalogueFiles is the catalogue as the command line sees it.
type catalogueFiles struct{ store *catalogue.Store }

// Version is that of the catalogue in force.
func (f catalogueFiles) Version() string                      { return f.store.Catalogue().Version() }
func (f catalogueFiles) Title(id string) (domain.Title, bool) { return f.store.Catalogue().Title(id) }

// Pick draws a playable.
func (f catalogueFiles) Pick(random *rand.Rand) domain.Title { return f.store.Catalogue().Pick(random) }

func (f catalogueFiles) Next(id string) (domain.Title, bool)    { return f.store.Catalogue().Next(id) }
func (f catalogueFiles) Counts() (movies, series, episodes int) { return f.store.Catalogue().Counts() }

// Import replaces the catalogue by a file whose rows are all good.
func (f catalogueFiles) Import(ctx context.Context, r io.Reader) (cli.ImportReport, error) {
	return imported(f.store.Import(ctx, r))
}

// ImportGoodRows replaces the catalogue by the good rows of a file.
func (f catalogueFiles) ImportGoodRows(ctx context.Context, r io.Reader) (cli.ImportReport, error) {
	return imported(f.store.ImportGoodRows(ctx, r))
}

func imported(c *catalogue.Catalogue, bad []catalogue.BadRow, err error) (cli.ImportReport, error) {
	report := cli.ImportReport{Bad: make([]cli.BadRow, len(bad))}
	for i, b := range bad {
		report.Bad[i] = cli.BadRow{Line: b.Line, Reason: b.Reason}
	}
	if errors.Is(err, catalogue.ErrBadRows) {
		err = fmt.Errorf("%w: %w", cli.ErrBadRows, err)
	}
	if err != nil {
		return report, err
	}
	movies, series, _ := c.Counts()
	report.Version, report.Imported = c.Version(), movies+series
	return report, nil
}
