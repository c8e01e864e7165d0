package projector

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"carryon/domain"
)

// AuditReport is what an audit looked at, and what it found.
type AuditReport struct {
	Shards      []AuditedShard
	Models      []AuditedModel
	Parked      []AuditedParked
	Histories   int      // streams whose history was compared
	Recomputed  int      // streams whose rows were made anew, counted for each model
	Overtaken   []string // streams that changed whenever they were compared: not compared, and no difference
	Differences []Difference
	More        int         // differences that were found and are not listed
	Wrong       []WrongRows // what Repair would make anew
	MoreWrong   bool        // there are more

	doubtful map[string]bool // shards, streams and models, as Difference.Where names them, whose events or place are in doubt
	known    *known          // how far the logs were read
}

// WrongRows are rows of a read model that are not what the events give.
type WrongRows struct {
	Model  string
	Shard  int
	Stream domain.StreamID // empty: sums over streams do not agree with what they count
	Stray  bool            // of a stream that the log does not know, or behind its end there
	End    uint64          // of a stray: where the stream ends in the log; 0: the log does not know it
}

func (w WrongRows) String() string {
	if w.Stream == "" {
		return w.Model + " " + asAWhole
	}
	return w.Model + " " + string(w.Stream)
}

// asAWhole is where sums differ.
const asAWhole = "as a whole"

// AuditedShard is how far the log of a shard was walked.
type AuditedShard struct {
	Shard   int
	Head    uint64 // index of the newest entry
	Derived uint64 // the histories' progress
	Entries uint64 // walked
	Events  uint64 // in them
}

// AuditedModel is how far a read model was in a shard when the audit began.
type AuditedModel struct {
	Model   string
	Shard   int
	Applied uint64
	Tail    uint64
	Lag     uint64 // entries; not a difference: the model is behind, and not wrong
}

// AuditedParked is a parked stream of a read model. It is not a difference either: it waits to be retried.
type AuditedParked struct {
	Model  string
	Parked Parked
}

// Difference is something that does not agree.
type Difference struct {
	What  string // chain, stream, history, checkpoint, parked, rows
	Where string // a shard, a stream, a read model
	Says  string
}

// whatRows is a difference of rows: the others are of what rows are made from. whatChain is one of the log itself.
const (
	whatRows  = "rows"
	whatChain = "chain"
)

// How an Auditable begins to say that a row is missing, and that there is one too many.
const (
	NotStored = "not stored, but what the events give: "
	NotGiven  = "stored, but not what the events give: "
)

// Skipped tells whether something that happened is missing in a read model; Doubled, whether one shows what did not
// happen, or shows it twice. A row that is wrong in between is both, once as it is and once as it should be.
func (d Difference) Skipped() bool { return d.What == whatRows && strings.HasPrefix(d.Says, NotStored) }

// Doubled: see Skipped.
func (d Difference) Doubled() bool { return d.What == whatRows && strings.HasPrefix(d.Says, NotGiven) }

func (d Difference) String() string { return d.What + ": " + d.Where + ": " + d.Says }

// maxDifferences are listed; more are only counted.
const maxDifferences = 100

// maxWrong rows are listed: who has more than that wants a rebuild.
const maxWrong = 10_000

func (a *audit) differs(what, where, format string, args ...any) {
	if what != whatRows {
		a.doubt(where)
		a.broken = a.broken || what == whatChain
	}
	a.found(Difference{What: what, Where: where, Says: fmt.Sprintf(format, args...)})
}

func (a *audit) doubt(where string) {
	if a.report.doubtful == nil {
		a.report.doubtful = map[string]bool{}
	}
	a.report.doubtful[where] = true
}

func (a *audit) found(d Difference) {
	if len(a.report.Differences) >= maxDifferences {
		a.report.More++
		return
	}
	a.report.Differences = append(a.report.Differences, d)
}

// Clean tells whether everything agrees.
func (r AuditReport) Clean() bool { return len(r.Differences) == 0 }

// AtTails tells whether every read model has applied everything, and nothing is parked.
func (r AuditReport) AtTails() bool {
	for _, model := range r.Models {
		if model.Lag > 0 {
			return false
		}
	}
	return len(r.Parked) == 0
}

// Print writes the report for people.
func (r AuditReport) Print(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range r.Shards {
		fmt.Fprintf(table, "log\tshard %d\t%d entries\t%d events\thistories derived up to %d\n", s.Shard, s.Entries, s.Events, s.Derived)
	}
	for _, m := range r.Models {
		fmt.Fprintf(table, "%s\tshard %d\tapplied %d of %d\tlag %d\t\n", m.Model, m.Shard, m.Applied, m.Tail, m.Lag)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "compared: %d histories with the log, %d times the rows of a stream with its events\n", r.Histories, r.Recomputed)
	for _, p := range r.Parked {
		if err == nil {
			_, err = fmt.Fprintf(w, "parked in %s: %s at seq %d since %s, attempts %d: %s\n", p.Model, p.Parked.Stream, p.Parked.FirstSeq,
				p.Parked.Since.UTC().Format("2006-01-02T15:04:05Z"), p.Parked.Attempts, p.Parked.Reason)
		}
	}
	if err == nil && len(r.Overtaken) > 0 {
		_, err = fmt.Fprintf(w, "not compared, because they changed all the while: %s\n", strings.Join(r.Overtaken[:min(10, len(r.Overtaken))], ", ")+more(len(r.Overtaken)-10))
	}
	for _, d := range r.Differences {
		if err == nil {
			_, err = fmt.Fprintln(w, "DIFFERS "+d.String())
		}
	}
	switch {
	case err != nil:
	case r.More > 0:
		_, err = fmt.Fprintf(w, "DIFFERS and %d more\n", r.More)
	case r.Clean():
		_, err = fmt.Fprintln(w, "clean: no differences")
	}
	return err
}

func more(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(" and %d more", n)
}
