package projector

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"carryon/domain"
)

// Life is a stretch of time for which a licence was, is or will be active, withdrawals left aside. A licence has another
// life when it is renewed after its end, or for another country.
type Life struct {
	LicenseID string
	Number    int // 1 for the first
	Customer  string
	DeviceID  string
	From      time.Time
	OwnEnd    *time.Time // by its terms; nil: unlimited
	CutAt     *time.Time // released, revoked, or its device removed
	Dimensions
}

// Until is when the life ends: the earlier of its own end and the cut; nil: never.
func (l *Life) Until() *time.Time {
	until := earlierOf(l.OwnEnd, l.CutAt)
	if until != nil && until.Before(l.From) {
		return &l.From
	}
	return until
}

// lifeChange is what an event does to lives.
type lifeChange struct {
	kind    lifeChangeKind
	at      time.Time
	license LicenseRef // but for deviceGone
	device  DeviceRef  // for deviceGone
	begun   Life       // for begins; for prolongs: what changes with the country
	end     *time.Time
}

type lifeChangeKind int

const (
	begins     lifeChangeKind = iota // the licence was issued
	moves                            // its own end moves
	prolongs                         // its own end moves, and when it had passed another life begins
	cuts                             // it was released or revoked
	deviceGone                       // every licence of the device ends, as the fold of DeviceRemoved has it
)

func lifeChangeOf(e *domain.Event, about *About, data domain.Payload) (lifeChange, bool) {
	c := lifeChange{license: LicenseRef{e.Stream.ID(), about.LicenseID}}
	switch p := data.(type) {
	case *domain.LicenseIssued:
		c.kind, c.at = begins, p.IssuedAt
		c.begun = Life{
			LicenseID: about.LicenseID, Number: 1, Customer: e.Stream.ID(), DeviceID: about.DeviceID, From: p.IssuedAt,
			OwnEnd: ownEnd(p.ExpiresAt, p.LimitedBy, &p.Terms, p.IssuedAt, p.WindowEnd), Dimensions: dimensionsOf(e, about),
		}
	case *domain.LicenseRenewed:
		c.kind, c.at = prolongs, p.RenewedAt
		c.end, c.begun.Country = ownEnd(p.ExpiresAt, p.LimitedBy, &p.Terms, p.RenewedAt, p.WindowEnd), p.Country
	case *domain.PlaybackStarted:
		if !p.FirstPlay {
			return lifeChange{}, false
		}
		c.kind, c.at, c.end = moves, p.At, p.ExpiresAt
	case *domain.LicenseReleased:
		c.kind, c.at = cuts, p.ReleasedAt
	case *domain.LicenseRevoked:
		c.kind, c.at = cuts, p.RevokedAt
	case *domain.GrantReconciled:
		if p.Outcome != domain.ReconciledRevoked {
			return lifeChange{}, false
		}
		c.kind, c.at = cuts, e.RecordedAt
	case *domain.DeviceRemoved:
		return lifeChange{kind: deviceGone, at: e.RecordedAt, device: DeviceRef{e.Stream.ID(), p.DeviceID}}, true
	default:
		return lifeChange{}, false
	}
	return c, c.license.LicenseID != ""
}

// ownEnd is the end by the licence's terms. An event says the end in view of what was withdrawn, and that may be put
// off: then the terms say it.
func ownEnd(expires *time.Time, limitedBy string, terms *domain.Terms, start time.Time, windowEnd *time.Time) *time.Time {
	if limitedBy != domain.LimitedByWithdrawal {
		return expires
	}
	end := windowEnd
	for _, s := range []domain.Seconds{terms.RentalDuration, terms.LicenseDuration} {
		if s > 0 {
			at := start.Add(s.Duration())
			end = earlierOf(end, &at)
		}
	}
	return end
}

// lifeBook are the lives that a batch is about.
type lifeBook struct {
	newest  map[string]*Life // by licence
	changed map[lifeKey]*lifeBefore
	counts  rollUp
}

type lifeKey struct {
	license string
	number  int
}

// lifeBefore is a life, and what the roll-ups say of it.
type lifeBefore struct {
	life    *Life
	counted bool
	until   *time.Time
}

// changedLives carries the changes over to the lives, in order, and adds what the roll-ups gain and lose by it.
func changedLives(ctx context.Context, tx AnalyticsTx, changes []lifeChange, counts rollUp) ([]Life, error) {
	if len(changes) == 0 {
		return nil, nil
	}
	var stored []Life
	if licenses, devices := wantedLives(changes); len(licenses)+len(devices) > 0 {
		var err error
		if stored, err = tx.Lives(ctx, licenses, devices); err != nil {
			return nil, err
		}
	}
	book := &lifeBook{newest: make(map[string]*Life, len(stored)), changed: map[lifeKey]*lifeBefore{}, counts: counts}
	for i := range stored {
		book.newest[stored[i].LicenseID] = &stored[i]
	}
	for i := range changes {
		book.apply(&changes[i])
	}
	return book.settle(), nil
}

// wantedLives are the licences and devices whose lives must be read. What is issued here has none yet.
func wantedLives(changes []lifeChange) ([]LicenseRef, []DeviceRef) {
	licenses, devices := map[LicenseRef]bool{}, map[DeviceRef]bool{}
	begun := map[string]bool{}
	for i := range changes {
		switch c := &changes[i]; {
		case c.kind == deviceGone:
			devices[c.device] = true
		case c.kind == begins:
			begun[c.license.LicenseID] = true
		case !begun[c.license.LicenseID]:
			licenses[c.license] = true
		}
	}
	return slices.SortedFunc(maps.Keys(licenses), func(a, b LicenseRef) int {
			return cmp.Or(strings.Compare(a.Customer, b.Customer), strings.Compare(a.LicenseID, b.LicenseID))
		}), slices.SortedFunc(maps.Keys(devices), func(a, b DeviceRef) int {
			return cmp.Or(strings.Compare(a.Customer, b.Customer), strings.Compare(a.DeviceID, b.DeviceID))
		})
}

func (b *lifeBook) apply(c *lifeChange) {
	if c.kind == begins {
		b.begin(c.begun)
		return
	}
	if c.kind == deviceGone {
		for _, life := range b.newest {
			if life.Customer == c.device.Customer && life.DeviceID == c.device.DeviceID {
				b.cut(life, c.at)
			}
		}
		return
	}
	life := b.newest[c.license.LicenseID]
	if life == nil {
		return // of a licence that no LicenseIssued began: nothing to count
	}
	switch c.kind {
	case moves:
		b.touch(life).OwnEnd = c.end
	case prolongs:
		b.prolong(life, c)
	case cuts:
		b.cut(life, c.at)
	}
}

func (b *lifeBook) begin(life Life) {
	b.newest[life.LicenseID] = &life
	b.changed[lifeKey{life.LicenseID, life.Number}] = &lifeBefore{life: &life}
}

// touch notes how the life was before its first change in this batch.
func (b *lifeBook) touch(life *Life) *Life {
	key := lifeKey{life.LicenseID, life.Number}
	if b.changed[key] == nil {
		b.changed[key] = &lifeBefore{life: life, counted: true, until: life.Until()}
	}
	return life
}

// cut ends a life that had not ended.
func (b *lifeBook) cut(life *Life, at time.Time) {
	if until := life.Until(); until != nil && !until.After(at) {
		return
	}
	b.touch(life).CutAt = &at
}

func (b *lifeBook) prolong(life *Life, c *lifeChange) {
	until := life.Until()
	over := until != nil && !until.After(c.at)
	if !over && life.Country == c.begun.Country {
		b.touch(life).OwnEnd = c.end
		return
	}
	if !over {
		b.cut(life, c.at)
	}
	next := *life
	next.Number, next.From, next.OwnEnd, next.CutAt, next.Country = life.Number+1, c.at, c.end, nil, c.begun.Country
	b.begin(next)
}

// settle brings the roll-ups up to date with the lives that changed, and returns these in order.
func (b *lifeBook) settle() []Life {
	changed := slices.SortedFunc(maps.Values(b.changed), func(a, b *lifeBefore) int {
		return cmp.Or(strings.Compare(a.life.LicenseID, b.life.LicenseID), cmp.Compare(a.life.Number, b.life.Number))
	})
	lives := make([]Life, 0, len(changed))
	for _, before := range changed {
		life := before.life
		if !before.counted {
			b.counts.add(MetricActive, life.From, life.Dimensions, 1)
		} else if before.until != nil {
			b.counts.add(MetricActive, *before.until, life.Dimensions, 1)
		}
		if until := life.Until(); until != nil {
			b.counts.add(MetricActive, *until, life.Dimensions, -1)
		}
		lives = append(lives, *life)
	}
	return lives
}
