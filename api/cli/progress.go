package cli

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how far long work has come: a bar on a terminal, elsewhere a plain line now and then, so that a log
// or a pipe stays readable.
type progress interface {
	// Set tells how much is done. It may be called from several goroutines.
	Set(done int64)
	// Of corrects the total, which was an estimate.
	Of(total int64)
	// Done ends the display.
	Done()
}

// newProgress begins a display of total units of what, as in "events".
func newProgress(w io.Writer, title, what string, total int64) progress {
	return resumedProgress(w, title, what, total, 0)
}

// resumedProgress is newProgress of work of which a part was done before: what it does a second is counted from there.
func resumedProgress(w io.Writer, title, what string, total, before int64) progress {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &bar{begin: time.Now(), bar: progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(w),
			progressbar.OptionSetDescription(title),
			progressbar.OptionSetItsString(what),
			progressbar.OptionShowIts(),
			progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetWidth(30),
			progressbar.OptionClearOnFinish(),
		)}
	}
	return &lines{w: w, title: title, what: what, total: total, before: before, last: before, begin: time.Now()}
}

type bar struct {
	mu    sync.Mutex
	bar   *progressbar.ProgressBar
	begin time.Time
	most  int64
}

// soonestRate is how long work goes on before its rate says anything, and what is left at that rate.
const soonestRate = time.Second

func (b *bar) Set(done int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if done > b.most { // callers overtake each other; a bar never goes back
		b.most = done
		if time.Since(b.begin) < soonestRate {
			return
		}
		_ = b.bar.Set64(min(done, b.bar.GetMax64())) // a display that fails must not fail the work
	}
}

func (b *bar) Of(total int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bar.ChangeMax64(total)
}

func (b *bar) Done() { _ = b.bar.Finish() }

type lines struct {
	mu          sync.Mutex
	w           io.Writer
	title, what string
	total, last int64
	before      int64 // of last
	begin, said time.Time
}

func (l *lines) Set(done int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = max(l.last, done)
	if now := time.Now(); now.Sub(l.said) >= 2*time.Second && l.last > 0 {
		l.said = now
		l.say()
	}
}

func (l *lines) Of(total int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total = total
}

func (l *lines) Done() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.say()
}

func (l *lines) say() {
	var what, rate string
	if l.what != "" {
		what = " " + l.what
	}
	if d := time.Since(l.begin); d >= soonestRate {
		did := l.last - l.before
		rate = fmt.Sprintf(", %.0f a second", float64(did)/d.Seconds())
		if did > 0 && l.last < l.total {
			left := d.Seconds() / float64(did) * float64(l.total-l.last)
			rate += fmt.Sprintf(", %.0f s left", left)
		}
	}
	if l.total > 0 {
		fmt.Fprintf(l.w, "%s: %d of %d%s (%d %%)%s\n", l.title, l.last, l.total, what, min(100, 100*l.last/l.total), rate)
		return
	}
	fmt.Fprintf(l.w, "%s: %d%s%s\n", l.title, l.last, what, rate)
}
