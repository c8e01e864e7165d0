package watermill_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/prometheus/client_golang/prometheus"

	"carryon/domain"
	"carryon/infra/conformance"
	"carryon/infra/memory/readmodel"
	"carryon/infra/watermill"
	"carryon/projector"
)

func TestGoChannelKeepsTheConsumerContract(t *testing.T) {
	t.Parallel()
	conformance.Transports(t, subject, func(t *testing.T) conformance.Transport {
		pubsub := gochannel.NewGoChannel(gochannel.Config{BlockPublishUntilSubscriberAck: true}, nil)
		bus := watermill.NewBus(watermill.Config{}, watermill.EntryCodec{}, nil, watermill.Output{Topic: "entries", Publisher: pubsub})
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		var group sync.WaitGroup
		group.Go(func() { bus.Run(ctx) })
		t.Cleanup(func() {
			cancel()
			group.Wait()
			if err := pubsub.Close(); err != nil {
				t.Error(err)
			}
		})
		return conformance.Transport{
			Publish: func(e *domain.Entry) {
				if err := bus.Publish(ctx, e); err != nil {
					t.Error(err)
				}
			},
			Subscribe: func(t *testing.T, listener conformance.Listener) func() {
				return route(t, pubsub, "entries", listener)
			},
		}
	})
}

// route lets a listener hear a topic until the test ends or it is stopped.
func route(t *testing.T, subscriber message.Subscriber, topic string, listener conformance.Listener) (stop func()) {
	t.Helper()
	registry := prometheus.NewRegistry()
	router, err := watermill.NewRouter(watermill.Config{}, projector.NewShared(emptyLog{}, 1<<20), watermill.EntryCodec{}, watermill.NewMetrics(registry), registry,
		watermill.Input{Runner: listener, Topic: topic, Subscriber: lasting{subscriber}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var group sync.WaitGroup
	group.Go(func() { _ = router.Run(ctx) })
	<-router.Running()
	stop = sync.OnceFunc(func() {
		cancel()
		group.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// lasting is a subscriber that outlives the routers that use it.
type lasting struct{ message.Subscriber }

func (lasting) Close() error { return nil }

func subject(testing.TB) conformance.ConsumerSubject[*readmodel.Tx] {
	store := readmodel.New()
	return conformance.ConsumerSubject[*readmodel.Tx]{Store: store, Rows: rows{store}}
}

// rows keeps the suite's rows as JSON.
type rows struct{ store *readmodel.Store }

func (rows) Row(_ context.Context, tx *readmodel.Tx, stream domain.StreamID) (row conformance.ConsumerRow, err error) {
	if value, found := tx.Get("counting", string(stream)); found {
		err = json.Unmarshal(value, &row)
	}
	return row, err
}

func (rows) SetRow(_ context.Context, tx *readmodel.Tx, row conformance.ConsumerRow) error {
	value, err := json.Marshal(row)
	if err == nil {
		tx.Put("counting", string(row.Stream), value)
	}
	return err
}

func (r rows) All(context.Context) (all []conformance.ConsumerRow, err error) {
	for _, value := range r.store.Table("counting") {
		var row conformance.ConsumerRow
		if err := json.Unmarshal(value, &row); err != nil {
			return nil, err
		}
		all = append(all, row)
	}
	return all, nil
}
