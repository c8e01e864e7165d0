package projector

import (
	"log/slog"
	"time"
)

// Config is how a consumer works. The zero value of each field means its default.
type Config struct {
	// MaxEvents and MaxBytes bound what one transaction applies: entries are taken until one of them is reached, and
	// at least one entry always. Under light load each entry goes at once; only a backlog fills a transaction.
	MaxEvents int // 4,096
	MaxBytes  int // 4 MiB of payloads and envelopes
	// PageBytes is what one read of the log asks for.
	PageBytes int // 1 MiB
	// WaitingEntries and WaitingBytes bound the entries per shard that were offered and are not applied yet. What
	// does not fit is dropped, and read from the log when its turn comes.
	WaitingEntries int // 1,024
	WaitingBytes   int // 8 MiB

	// Pace is the least time from the beginning of one transaction to that of the next, so that under load entries come
	// together in few transactions instead of costing one each. After a pause an entry goes at once, and so does what
	// follows on a transaction that was full.
	Pace time.Duration // 10 ms
	// Leisure is the same while nobody in this process waits for rows of the model, where that is longer. Who begins to
	// wait ends it.
	Leisure time.Duration // none

	// Courtesy says how long to rest after a round of work that took so long, for the sake of others; nil: not at all.
	Courtesy func(took time.Duration) time.Duration
	// Applied is told what a transaction has applied; nil: nobody is.
	Applied func(shard, entries, events int)

	// Turns are shared by the consumers of a process that also takes commands; nil: everybody applies at once.
	Turns *Turns

	// QuietMin is how long a shard is quiet before its log is looked at; each look that finds nothing doubles the
	// time to the next, up to QuietMax. Both are varied by a fifth.
	QuietMin time.Duration // 200 ms
	QuietMax time.Duration // 2 s
	// Assigned tells whether a shard's messages come to this process; nil: they all do. One whose messages go elsewhere
	// is looked at about every QuietElsewhere only, in case nobody works on it.
	Assigned       func(shard int) bool
	QuietElsewhere time.Duration // 5 s
	// RetryMin and RetryMax bound the pause after a failure: it doubles from one to the other, and is varied.
	RetryMin time.Duration // 50 ms
	RetryMax time.Duration // 10 s
	// Elsewhere is about how long a shard is left alone after another instance was found working on it.
	Elsewhere time.Duration // 100 ms

	// Tries is how often the same events must fail, with an error that does not say it is poison, before the one that
	// causes it is searched for; and again how often the one that was found must fail by itself before it is parked.
	Tries int // 3

	Logger *slog.Logger // discards
}

// withDefaults fills in what was left out.
func (c Config) withDefaults() Config {
	setDefault(&c.MaxEvents, 4096)
	setDefault(&c.MaxBytes, 4<<20)
	setDefault(&c.PageBytes, 1<<20)
	setDefault(&c.WaitingEntries, 1024)
	setDefault(&c.WaitingBytes, 8<<20)
	setDefault(&c.Pace, 10*time.Millisecond)
	setDefault(&c.QuietMin, 200*time.Millisecond)
	setDefault(&c.QuietMax, 2*time.Second)
	setDefault(&c.QuietElsewhere, 5*time.Second)
	setDefault(&c.RetryMin, 50*time.Millisecond)
	setDefault(&c.RetryMax, 10*time.Second)
	setDefault(&c.Elsewhere, 100*time.Millisecond)
	setDefault(&c.Tries, 3)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func setDefault[N ~int | ~int64](field *N, value N) {
	if *field == 0 {
		*field = value
	}
}
