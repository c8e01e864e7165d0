package readmodel_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"carryon/domain"
	"carryon/infra/memory"
	"carryon/infra/memory/readmodel"
	"carryon/projector"
)

// quick looks often, because tests wait for it.
var quick = projector.Config{
	QuietMin: time.Millisecond, QuietMax: 10 * time.Millisecond, RetryMin: time.Millisecond, RetryMax: 5 * time.Millisecond,
	Elsewhere: time.Millisecond, PageBytes: 4000,
}

// listing lists each stream's seqs.
type listing struct{}

func (listing) Name() string { return "listing" }

func (listing) Apply(_ context.Context, tx *readmodel.Tx, events []*domain.Event) error {
	for _, event := range events {
		listed, _ := tx.Get("seqs", string(event.Stream))
		tx.Put("seqs", string(event.Stream), fmt.Appendf(nil, "%s%d ", listed, event.Seq))
	}
	return nil
}

// claimant claims entries of shard 1 in the memory log.
type claimant struct {
	t    *testing.T
	log  *memory.Connection
	head domain.Head
	seqs map[string]uint64
}

func (c *claimant) claim(customers ...string) *domain.Entry {
	e := &domain.Entry{Shard: 1, Index: c.head.Index + 1, PreviousID: c.head.ID, RecordedAt: time.Unix(int64(c.head.Index), 0).UTC()}
	e.ID[0], e.ID[1], e.ID[15] = byte(e.Index>>8), byte(e.Index), 1
	for place, customer := range customers {
		c.seqs[customer]++
		e.Events = append(e.Events, domain.Event{
			ID: fmt.Sprintf("%s#%d", customer, c.seqs[customer]), Stream: domain.CustomerStream(customer), Seq: c.seqs[customer],
			Position: domain.Position{Shard: 1, Index: e.Index, Place: place}, Type: "Listed", SchemaVersion: 1, Payload: []byte(`{}`),
		})
	}
	claimed, err := c.log.Claim(c.t.Context(), e)
	if err != nil || !claimed.Applied {
		c.t.Fatalf("claiming entry %d: %+v, %v", e.Index, claimed, err)
	}
	c.head = domain.Head{Index: e.Index, ID: e.ID}
	return e
}

func TestTwoInstancesFollowALogThatFailsNowAndThen(t *testing.T) {
	t.Parallel()
	log := memory.NewStore()
	store := readmodel.New()
	claims := &claimant{t: t, log: log.Connect(), seqs: make(map[string]uint64)}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	var runners projector.Runners
	for seed := range uint64(2) {
		connection := log.Connect()
		random := rand.New(rand.NewPCG(seed, 0))
		var mu sync.Mutex
		connection.Inject(func(context.Context, memory.Call) memory.Fault {
			mu.Lock()
			defer mu.Unlock()
			if random.IntN(4) == 0 {
				return memory.Unavailable
			}
			return memory.None
		})
		shared := projector.NewShared(connection, 20_000)
		runners = append(runners, projector.NewConsumer(quick, projector.Projection[*readmodel.Tx](listing{}),
			projector.Store[*readmodel.Tx](store), shared, connection, []int{0, 1}, time.Now, nil))
	}
	group.Go(func() {
		if err := runners.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	random := rand.New(rand.NewPCG(7, 0))
	for range 300 {
		e := claims.claim("a", string(rune('b'+random.IntN(5))), "a")
		if random.IntN(3) > 0 {
			runners[random.IntN(2)].Offer(e)
		}
	}
	wait, cancelWait := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancelWait()
	if err := runners.WaitFor(wait, domain.Position{Shard: 1, Index: 300}, ""); err != nil {
		t.Fatal(err)
	}
	for customer, last := range claims.seqs {
		want := ""
		for seq := range last {
			want += fmt.Sprintf("%d ", seq+1)
		}
		if got, _ := store.Get("seqs", "customer/"+customer); string(got) != want {
			t.Errorf("%s: applied %s, want %s", customer, got, want)
		}
	}
}

func TestALogThatForgotItsTailIsNoticed(t *testing.T) {
	t.Parallel()
	log := memory.NewStore()
	claims := &claimant{t: t, log: log.Connect(), seqs: make(map[string]uint64)}
	for range 10 {
		claims.claim("a")
	}
	consumer := projector.NewConsumer(quick, projector.Projection[*readmodel.Tx](listing{}), projector.Store[*readmodel.Tx](readmodel.New()),
		log.Connect(), log.Connect(), []int{1}, time.Now, nil)
	if err := (projector.Runners{consumer}).CatchUp(t.Context(), log.Connect(), []int{1}, nil); err != nil {
		t.Fatal(err)
	}
	log.Forget(1, 2)
	if outcome, err := consumer.Look(t.Context(), 1); outcome != projector.Stopped || !errors.Is(err, projector.ErrHistoryDiffers) {
		t.Errorf("the look at a log that forgot its tail: %v, %v", outcome, err)
	}
}
