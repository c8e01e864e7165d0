package command_test

import (
	"errors"
	"iter"
)

// A coroutine is code of the real program that makes several calls, like the load of a stream or a round of a consumer.
// It stands still before each call, so that anything may happen in between.
type coroutine struct {
	next func() (string, bool)
	stop func()

	yield   func(string) bool
	call    string      // that it stands before
	ready   func() bool // nil, or whether that call may go on
	over    bool
	fault   fault  // of the call that goes on
	digest  uint64 // of what it was told so far
	results func() // what is to be done with what came of it
}

// errAbandoned unwinds the code of a process that crashed.
var errAbandoned = errors.New("the process crashed")

// begin runs a coroutine up to its first call.
func (w *model) begin(body func() (results func())) *coroutine {
	co := &coroutine{}
	co.next, co.stop = iter.Pull(func(yield func(string) bool) {
		defer func() {
			if r := recover(); r != nil && r != errAbandoned { //nolint:errorlint // the very value that was thrown
				panic(r)
			}
		}()
		co.yield = yield
		co.results = body()
	})
	w.resume(co, none)
	return co
}

// resume lets a coroutine make its call, and runs it up to the next one.
func (w *model) resume(co *coroutine, f fault) {
	before := w.running
	w.running, co.fault, co.ready = co, f, nil
	call, more := co.next()
	w.running = before
	co.call, co.over = call, !more
}

// reach is where a call reaches the store: a coroutine stands still there. It returns what goes wrong with the call.
func (w *model) reach(call string, ready func() bool) fault {
	co := w.running
	if co == nil { // a single call: the move that makes it says what goes wrong
		f := w.fault
		w.fault = none
		return f
	}
	if !w.slow && slowCalls[call] {
		return none
	}
	co.ready = ready
	if !co.yield(call) {
		panic(errAbandoned)
	}
	return co.fault
}

// slowCalls are steps of their own only where what goes on behind the claims is explored: otherwise what they read
// changes with a claim or a commit at once, before which or after which the next call comes.
var slowCalls = map[string]bool{"read the progress": true, "read the snapshot": true, "read the checkpoints": true}

// told mixes what a call returned into the digest of whoever made it.
func (w *model) told(values ...uint64) {
	digest := &w.digest
	if w.running != nil {
		digest = &w.running.digest
	}
	for _, v := range values {
		*digest = mix(*digest, v)
	}
}

// mix adds a value to a hash.
func mix(h, v uint64) uint64 {
	h ^= v + 0x9e3779b97f4a7c15 + h<<6 + h>>2
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	return h
}

func hashText(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
