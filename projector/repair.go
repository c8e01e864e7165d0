package projector

// Repair makes anew what an audit found wrong in rows, and nothing else, and then compares just that again. What rows
// are made from is not for it to mend: where the log, the history or the model's place in the log is in doubt, rows are
// left as they are, because they may be the only witness of what was there before.

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"carryon/domain"
)

// RepairReport is what came of a repair.
type RepairReport struct {
	Mended []WrongRows
	Left   []NotMended
}

// NotMended are rows, or what they are made from, that differ as before.
type NotMended struct {
	What    string // which rows; or the difference
	Says    string // why; or what to do
	Rebuild string // the read model that a rebuild would mend; empty: a rebuild doesn't help
}

// Clean tells whether nothing is left.
func (r RepairReport) Clean() bool { return len(r.Left) == 0 }

// Print writes the report for people.
func (r RepairReport) Print(w io.Writer) error {
	var text strings.Builder
	for _, m := range r.Mended {
		fmt.Fprintf(&text, "mended: %s\n", m)
	}
	var rebuild []string
	for _, n := range r.Left {
		fmt.Fprintf(&text, "NOT MENDED %s: %s\n", n.What, n.Says)
		if n.Rebuild != "" && !slices.Contains(rebuild, n.Rebuild) {
			rebuild = append(rebuild, n.Rebuild)
		}
	}
	if len(rebuild) > 0 {
		fmt.Fprintf(&text, "these read models can be made anew as a whole: carryon rebuild %s\n", strings.Join(rebuild, " "))
	}
	fmt.Fprintf(&text, "%d mended, %d not\n", len(r.Mended), len(r.Left))
	_, err := io.WriteString(w, text.String())
	return err
}

// Repair mends what was found. The error says that it could not go on; the report is of what was done until then.
func Repair(ctx context.Context, target AuditTarget, found AuditReport, progress func(stage string, done, total int64)) (RepairReport, error) {
	if progress == nil {
		progress = func(string, int64, int64) {}
	}
	r := repair{AuditTarget: target, found: found, progress: progress, tried: map[WrongRows]string{}}
	if found.known != nil {
		r.known = found.known.copied()
	}
	for _, step := range []func(context.Context) error{r.mendStreams, r.mendSums, r.compareAgain} {
		if err := step(ctx); err != nil {
			return r.report, fmt.Errorf("repairing: %w", err)
		}
	}
	r.leaveTheRest()
	return r.report, nil
}

// repair is one under way.
type repair struct {
	AuditTarget
	found    AuditReport
	progress func(stage string, done, total int64)
	known    *known
	tried    map[WrongRows]string // and why it did not work; empty: it did, as far as is known
	report   RepairReport
}

func (r *repair) model(name string) *AuditedStore {
	for m := range r.Models {
		if r.Models[m].Name == name {
			return &r.Models[m]
		}
	}
	return nil
}

func (r *repair) mendStreams(ctx context.Context) error {
	for i, wrong := range r.found.Wrong {
		if wrong.Stream != "" {
			why, err := r.mend(ctx, wrong)
			if err != nil {
				return err
			}
			r.tried[wrong] = why
		}
		r.progress("making rows anew", int64(i+1), int64(len(r.found.Wrong)))
	}
	return nil
}

// mend says why it did not work.
func (r *repair) mend(ctx context.Context, wrong WrongRows) (why string, err error) {
	model := r.model(wrong.Model)
	if source := r.doubt(wrong); source != "" {
		return "what it is made from differs, too (" + source + "): its rows are left as they are", nil
	}
	if model == nil || model.Mend == nil {
		return ErrNotMendable.Error(), nil
	}
	if !wrong.Stray {
		return failure(ctx, model.Mend.Mend(ctx, wrong.Shard, wrong.Stream))
	}
	listing, can := model.Rows.(Listing)
	if !can {
		return ErrNotMendable.Error(), nil
	}
	return failure(ctx, model.Mend.Sweep(ctx, wrong.Shard, wrong.Stream, func(ctx context.Context) (uint64, error) {
		err := r.known.readOn(ctx)
		return max(wrong.End, r.known.end(listing, wrong.Stream)), err
	}))
}

// doubt is what is not sure of that which rows are made from; empty: nothing. Rows of a stream that the log does not know
// may be the only witness of whatever is amiss in it.
func (r *repair) doubt(wrong WrongRows) string {
	for _, source := range []string{fmt.Sprintf("shard %d", wrong.Shard), string(wrong.Stream), wrong.Model} {
		if r.found.doubtful[source] {
			return source
		}
	}
	if wrong.Stray {
		for _, source := range slices.Sorted(maps.Keys(r.found.doubtful)) {
			if r.model(source) == nil {
				return source
			}
		}
	}
	return ""
}

// failure is what an error says, unless it is that nothing goes on.
func failure(ctx context.Context, err error) (why string, fatal error) {
	switch {
	case err == nil:
		return "", nil
	case ctx.Err() != nil:
		return "", err
	}
	return err.Error(), nil
}

// mendSums comes after the streams: what was altered in a stream's rows was taken out of the sums as it was found.
func (r *repair) mendSums(ctx context.Context) error {
	for _, name := range r.touched() {
		model := r.model(name)
		if model == nil {
			continue
		}
		if _, can := model.Rows.(SelfAuditable); !can {
			continue
		}
		whole := WrongRows{Model: name}
		if model.Mend == nil {
			r.tried[whole] = ErrNotMendable.Error()
			continue
		}
		why, err := failure(ctx, model.Mend.MendItself(ctx))
		if err != nil {
			return err
		}
		r.tried[whole] = why
	}
	return nil
}

// touched are the models that something was tried in, or whose sums differ, in order.
func (r *repair) touched() []string {
	var names []string
	for _, wrong := range r.found.Wrong {
		if why, tried := r.tried[wrong]; (wrong.Stream == "" || tried && why == "") && !slices.Contains(names, wrong.Model) {
			names = append(names, wrong.Model)
		}
	}
	return names
}

// compareAgain audits what was mended, and nothing else.
func (r *repair) compareAgain(ctx context.Context) error {
	target := r.AuditTarget
	a := &audit{AuditTarget: target, known: r.known, report: &AuditReport{}, streams: make(map[domain.StreamID]*auditedStream)}
	for i, wrong := range r.found.Wrong {
		if why, tried := r.tried[wrong]; tried && why == "" && wrong.Stream != "" {
			if wrong.Stray {
				if err := a.compareStray(ctx, r.model(wrong.Model), wrong); err != nil {
					return fmt.Errorf("comparing %s again: %w", wrong, err)
				}
				continue
			}
			a.streams[wrong.Stream] = &auditedStream{shard: wrong.Shard}
			if err := a.compareStream(ctx, r.model(wrong.Model), wrong.Stream); err != nil {
				return fmt.Errorf("comparing %s again: %w", wrong, err)
			}
		}
		r.progress("comparing again", int64(i+1), int64(len(r.found.Wrong)))
	}
	if err := a.compareOvertaken(ctx); err != nil {
		return err
	}
	for _, name := range r.touched() {
		if err := a.compareSums(ctx, r.model(name)); err != nil {
			return err
		}
	}
	r.sort(a.report)
	return nil
}

// sort tells what was mended from what was not.
func (r *repair) sort(again *AuditReport) {
	wrong, before, still := slices.Clone(r.found.Wrong), map[WrongRows]bool{}, map[WrongRows]bool{}
	for _, w := range wrong {
		before[w] = true
	}
	for _, w := range again.Wrong {
		still[w] = true
		if !before[w] { // a sum that was right before its streams were mended
			wrong = append(wrong, w)
		}
	}
	for _, w := range wrong {
		why := r.tried[w]
		if slices.Contains(again.Overtaken, fmt.Sprintf("%s in %s", w.Stream, w.Model)) {
			why = "it was made anew, and changed whenever it was compared: audit again"
		}
		if why == "" && still[w] {
			why = "it was made anew, and still differs"
		}
		if why != "" {
			r.report.Left = append(r.report.Left, NotMended{What: "rows: " + w.String(), Says: why, Rebuild: r.rebuildable(w)})
			continue
		}
		r.report.Mended = append(r.report.Mended, w)
	}
}

// rebuildable is the model, unless the log that a rebuild reads is in doubt.
func (r *repair) rebuildable(w WrongRows) string {
	if r.found.doubtful[fmt.Sprintf("shard %d", w.Shard)] || r.found.doubtful[string(w.Stream)] {
		return ""
	}
	return w.Model
}

// leaveTheRest names what is no matter of rows.
func (r *repair) leaveTheRest() {
	for _, d := range r.found.Differences {
		if d.What == whatRows {
			continue
		}
		left := NotMended{What: d.String(), Says: "this is not made from anything that could be read again: see the runbook"}
		if d.What == "checkpoint" || d.What == "parked" {
			left.Says = "the read model was made from another log: find out which of the two is right"
			if r.model(d.Where) != nil {
				left.Rebuild = d.Where
			}
		}
		r.report.Left = append(r.report.Left, left)
	}
	if r.found.MoreWrong {
		for _, model := range r.found.wrongModels() {
			r.report.Left = append(r.report.Left, NotMended{
				What: "rows: " + model, Says: fmt.Sprintf("only the first %d wrong streams were made anew", maxWrong), Rebuild: model,
			})
		}
	}
}

func (r AuditReport) wrongModels() []string {
	var names []string
	for _, w := range r.Wrong {
		if !slices.Contains(names, w.Model) {
			names = append(names, w.Model)
		}
	}
	return names
}
