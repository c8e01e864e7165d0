package simulate

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"
)

// Print writes the report for people.
func (r *Report) Print(w io.Writer) error {
	var total, refused int64
	for _, k := range r.Kinds {
		total += k.Accepted + k.Refused + k.Other
		refused += k.Refused
	}
	seconds := max(r.Elapsed.Seconds(), 1e-9)
	fmt.Fprintf(w, "%d commands in %s: %.0f a second; %d refused by the rules, %d sent again on purpose (seed %d)\n\n",
		total, r.Elapsed.Round(time.Millisecond), float64(total)/seconds, refused, r.Repeats, r.Seed)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "command\taccepted\trefused\tother\tp50\tp90\tp99\tmax\t")
	for _, kind := range Kinds() {
		k := r.Kinds[kind]
		if k.Latency.Count() == 0 {
			continue
		}
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t\n", kind, k.Accepted, k.Refused, k.Other,
			brief(k.Latency.Quantile(0.5)), brief(k.Latency.Quantile(0.9)), brief(k.Latency.Quantile(0.99)), brief(k.Latency.Max()))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	printCounts(w, "refusals by code", r.Refusals)
	printCounts(w, "problems", r.Problems)
	for _, d := range r.Differ {
		fmt.Fprintln(w, "DIFFERENT ANSWER TO THE SAME COMMAND:", d)
	}
	return nil
}

// Clean tells whether the run proved nothing wrong: every repeat was answered alike, nothing was left unanswered.
func (r *Report) Clean() bool { return len(r.Differ) == 0 && r.Unknowns == 0 }

func printCounts(w io.Writer, title string, counts map[string]int64) {
	if len(counts) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", title)
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return int(counts[b] - counts[a]) })
	for _, key := range keys {
		fmt.Fprintf(w, "  %8d  %s\n", counts[key], key)
	}
}

func brief(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%dµs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%.1fms", float64(d.Microseconds())/1000)
	default:
		return d.Round(10 * time.Millisecond).String()
	}
}
