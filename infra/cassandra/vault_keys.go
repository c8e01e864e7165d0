package cassandra

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/gocql/gocql"

	"carryon/command"
)

// VaultKeys are the customers' wrapped keys, as infra/vault wants them kept. Every write is conditional, so of several
// first keys of a customer one counts, and none after an erasure.
//
// An erased key is gone for every reader at once. From the servers' disks it goes with compaction, and from their
// backups not at all; whoever finds it there still needs the master key.
type VaultKeys struct{ store *Store }

// VaultKeys are kept in the same keyspace as the log.
func (s *Store) VaultKeys() VaultKeys { return VaultKeys{s} }

// Load returns the wrapped key, nil when there is none, command.ErrErased when it was erased.
func (v VaultKeys) Load(ctx context.Context, customer string) ([]byte, error) {
	var wrapped []byte
	var erased bool
	q := v.store.session.Query(`SELECT wrapped, erased FROM customer_keys WHERE customer = ?`, customer)
	found, err := v.store.scanOne(ctx, v.store.at(quorum, q), &wrapped, &erased)
	switch {
	case err != nil:
		return nil, fmt.Errorf("loading a key: %w", err)
	case !found:
		return nil, nil
	case erased:
		return nil, command.ErrErased
	}
	return wrapped, nil
}

// keysAtOnce is how many keys are being made at the same time.
const keysAtOnce = 16

// Create makes the keys durable that are not there yet, and returns for each customer the one that is there now, nil for
// an erased one.
func (v VaultKeys) Create(ctx context.Context, wrapped map[string][]byte) (map[string][]byte, error) {
	customers := slices.Sorted(maps.Keys(wrapped))
	var mu sync.Mutex
	there := make(map[string][]byte, len(wrapped))
	err := atOnce(ctx, keysAtOnce, len(customers), func(ctx context.Context, i int) error {
		key, err := v.create(ctx, customers[i], wrapped[customers[i]])
		if err != nil {
			return fmt.Errorf("making a key: %w", err)
		}
		mu.Lock()
		defer mu.Unlock()
		there[customers[i]] = key
		return nil
	})
	if err != nil {
		return nil, err
	}
	return there, nil
}

func (v VaultKeys) create(ctx context.Context, customer string, key []byte) ([]byte, error) {
	found := make(map[string]any)
	applied, err := v.cas(ctx, found, `INSERT INTO customer_keys (customer, wrapped, erased) VALUES (?, ?, false) IF NOT EXISTS`, customer, key)
	if err != nil || applied {
		return key, err
	}
	if erased, _ := found["erased"].(bool); erased {
		return nil, nil
	}
	there, _ := found["wrapped"].([]byte)
	return there, nil
}

// Erase replaces the key by a tombstone, and counts. If it fails half-way it has to be called again.
func (v VaultKeys) Erase(ctx context.Context, customer string) error {
	none := make(map[string]any)
	applied, err := v.cas(ctx, none, `INSERT INTO customer_keys (customer, erased) VALUES (?, true) IF NOT EXISTS`, customer)
	if err == nil && !applied {
		_, err = v.cas(ctx, make(map[string]any), `UPDATE customer_keys SET wrapped = null, erased = true WHERE customer = ? IF EXISTS`, customer)
	}
	if err == nil {
		err = v.count(ctx)
	}
	if err != nil {
		return fmt.Errorf("erasing a key: %w", err)
	}
	return nil
}

// count adds one to the erasures. A count that may have been added twice is no worse: who sees it move looks again.
func (v VaultKeys) count(ctx context.Context) error {
	if _, err := v.cas(ctx, make(map[string]any), `INSERT INTO vault (one, erasures) VALUES (1, 0) IF NOT EXISTS`); err != nil {
		return err
	}
	for {
		n, err := v.erasures(ctx)
		if err != nil {
			return err
		}
		applied, err := v.cas(ctx, make(map[string]any), `UPDATE vault SET erasures = ? WHERE one = 1 IF erasures = ?`, n+1, n)
		if err != nil || applied {
			return err
		}
	}
}

// Erasures counts the erasures, by any process.
func (v VaultKeys) Erasures(ctx context.Context) (int64, error) {
	n, err := v.erasures(ctx)
	if err != nil {
		return 0, fmt.Errorf("counting erasures: %w", err)
	}
	return n, nil
}

func (v VaultKeys) erasures(ctx context.Context) (n int64, err error) {
	_, err = v.store.scanOne(ctx, v.store.at(quorum, v.store.session.Query(`SELECT erasures FROM vault WHERE one = 1`)), &n)
	return n, err
}

// MasterCheck tells which master key the keys are wrapped under: nil, if none was noted.
func (v VaultKeys) MasterCheck(ctx context.Context) (check []byte, err error) {
	_, err = v.store.scanOne(ctx, v.store.at(linearizable, v.store.session.Query(`SELECT master_check FROM vault WHERE one = 1`)), &check)
	if err != nil {
		return nil, fmt.Errorf("reading the check of the master key: %w", err)
	}
	return check, nil
}

// NoteMasterCheck notes it, if none is noted, and returns the one that is noted now.
func (v VaultKeys) NoteMasterCheck(ctx context.Context, check []byte) ([]byte, error) {
	_, err := v.cas(ctx, make(map[string]any), `INSERT INTO vault (one, erasures) VALUES (1, 0) IF NOT EXISTS`)
	if err == nil {
		_, err = v.cas(ctx, make(map[string]any), `UPDATE vault SET master_check = ? WHERE one = 1 IF master_check = null`, check)
	}
	if err != nil {
		return nil, fmt.Errorf("noting the check of the master key: %w", err)
	}
	return v.MasterCheck(ctx)
}

// Close does nothing: the store is closed by who opened it.
func (v VaultKeys) Close() error { return nil }

// cas sends a conditional statement of which it does no harm to send it twice.
func (v VaultKeys) cas(ctx context.Context, found map[string]any, statement string, values ...any) (applied bool, err error) {
	err = v.store.limited(ctx, func(ctx context.Context) error {
		q := v.store.session.Query(statement, values...).Consistency(v.store.cfg.quorum()).SerialConsistency(v.store.cfg.serial()).WithContext(ctx)
		applied, err = scanCAS(q, found)
		return err
	})
	return applied, err
}

// scanCAS reads the answer to a conditional statement. The driver panics over one without rows.
func scanCAS(q *gocql.Query, found map[string]any) (applied bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			applied, err = false, errors.Join(errNoAnswer, fmt.Errorf("%v", r))
		}
	}()
	return q.MapScanCAS(found)
}
