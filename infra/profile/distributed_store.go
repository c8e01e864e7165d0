package profile

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"time"

	"carryon/api/config"
	"carryon/command"
	"carryon/domain"
	"carryon/infra/cassandra"
	"carryon/infra/vault"
)

// kept is what Cassandra keeps for all processes: the event store, the customers' keys, and who is there.
type kept struct {
	*cassandra.Store
	keys *vault.Vault
}

func openKept(ctx context.Context, s *System) (*kept, error) {
	c := &s.config.Cassandra
	store, err := cassandra.Open(ctx, cassandra.Config{
		Hosts: c.Hosts, Keyspace: c.Keyspace, Datacenter: c.Datacenter, Replication: c.Replication,
		User: c.User, PasswordFile: c.PasswordFile, CAFile: c.CAFile,
		Layout: cassandra.Layout{Shards: s.config.Shards}, Dial: reaching(s.config.ReachBy), Logger: s.logger,
	})
	if err != nil {
		return nil, err
	}
	keys, err := vault.OpenIn(ctx, store.VaultKeys(), vault.Config{MasterKey: s.config.MasterKey, MasterFile: filepath.Join(keysDir(s.config), "master.key")})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return &kept{store, keys}, nil
}

func (k *kept) close() error { return errors.Join(k.keys.Close(), k.Store.Close()) }

// laterVault opens and seals words when Cassandra is there.
type laterVault struct{ *later[*kept] }

var _ command.Vault = laterVault{}

func (l laterVault) Seal(ctx context.Context, customer, words string) (domain.Sealed, error) {
	k, err := l.get()
	if err != nil {
		return "", err
	}
	return k.keys.Seal(ctx, customer, words)
}

func (l laterVault) Opener(ctx context.Context, customer string) (command.Opener, error) {
	k, err := l.get()
	if err != nil {
		return nil, err
	}
	return k.keys.Opener(ctx, customer)
}

func (l laterVault) Digest(ctx context.Context, customer, words string) (string, error) {
	k, err := l.get()
	if err != nil {
		return "", err
	}
	return k.keys.Digest(ctx, customer, words)
}

func (l laterVault) Erase(ctx context.Context, customer string) error {
	k, err := l.get()
	if err != nil {
		return err
	}
	return k.keys.Erase(ctx, customer)
}

// laterMembers is the list of processes when Cassandra is there.
type laterMembers struct{ *later[*kept] }

var _ command.Members = laterMembers{}

func (l laterMembers) Beat(ctx context.Context, m command.Member, ttl time.Duration) error {
	k, err := l.get()
	if err != nil {
		return err
	}
	return k.Members().Beat(ctx, m, ttl)
}

func (l laterMembers) List(ctx context.Context) ([]command.Member, error) {
	k, err := l.get()
	if err != nil {
		return nil, err
	}
	return k.Members().List(ctx)
}

func (l laterMembers) Leave(ctx context.Context, name string) error {
	k, err := l.get()
	if err != nil {
		return err
	}
	return k.Members().Leave(ctx, name)
}

// keysDir is the folder of the keys, which all processes share.
func keysDir(c *config.Config) string {
	if c.Keys != "" {
		return c.Keys
	}
	return filepath.Join(c.Data, "keys")
}

// mayPass tells whether a failure to connect may pass by itself.
func mayPass(err error) bool {
	return errors.Is(err, command.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
}

// reachWithin is how long one connection may take.
const reachWithin = 5 * time.Second

// reaching dials nodes and brokers by the addresses that were configured for those that they tell of themselves; nil: as
// they tell.
func reaching(by map[string]string) func(ctx context.Context, network, address string) (net.Conn, error) {
	if len(by) == 0 {
		return nil
	}
	dialer := &net.Dialer{Timeout: reachWithin}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		other, known := by[address]
		if !known {
			return dialer.DialContext(ctx, network, address)
		}
		remote, err := net.ResolveTCPAddr(network, address)
		if err != nil {
			return nil, err
		}
		conn, err := dialer.DialContext(ctx, network, other)
		if err != nil {
			return nil, err
		}
		return redirected{conn, remote}, nil
	}
}

// redirected is a connection to an address by another. Cassandra's driver makes of a connection's address the one that it
// looks for the node at.
type redirected struct {
	net.Conn
	remote net.Addr
}

// RemoteAddr is where the node says that it is.
func (r redirected) RemoteAddr() net.Addr { return r.remote }
