package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"carryon/projector"
)

// Writes go in bulks, several at once, each of a bounded size. What comes of them is looked at one by one: an item that
// the servers are too busy for is sent again, one that they know a newer version of is as good as written, and one that
// they refuse is the fault of the document.

// write is a document to be written or removed.
type write struct {
	id      string
	version int64 // with which it replaces those of the same and of smaller ones; 0: any
	source  any   // nil: it is removed
	only    *hit  // nil: whatever is there; else only what was found, if it is still the same
}

// refused says that a write can never be done as it is.
type refused struct {
	at     int // which write
	reason string
}

type bulkAction struct {
	ID      string `json:"_id"`
	Version int64  `json:"version,omitempty"`
	Type    string `json:"version_type,omitempty"`
	SeqNo   *int64 `json:"if_seq_no,omitempty"`
	Term    *int64 `json:"if_primary_term,omitempty"`
}

func (w *write) encode(into *bytes.Buffer) error {
	action := bulkAction{ID: w.id, Version: w.version}
	if w.version > 0 {
		action.Type = "external_gte"
	}
	if w.only != nil {
		action.SeqNo, action.Term = &w.only.SeqNo, &w.only.Term
	}
	name := "index"
	if w.source == nil {
		name = "delete"
	}
	encoder := json.NewEncoder(into) // which ends each value with a line feed
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(map[string]bulkAction{name: action}); err != nil {
		return err
	}
	if w.source == nil {
		return nil
	}
	return encoder.Encode(w.source)
}

// bulk writes, and returns what was refused for good. After an error anything may have been written.
func (c *Client) bulk(ctx context.Context, index string, writes []write) ([]refused, error) {
	chunks, err := c.chunks(writes)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	var mu sync.Mutex
	var all []refused
	var errs []error
	for _, chunk := range chunks {
		group.Go(func() {
			found, err := c.send(ctx, index, chunk)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, found...)
			if err != nil {
				errs = append(errs, err)
				cancel()
			}
		})
	}
	group.Wait()
	if len(errs) > 0 {
		return nil, errs[0] // the others were mostly called off
	}
	return all, nil
}

// chunk is what one request holds.
type chunk struct {
	at   []int // which writes
	text [][]byte
}

// chunks parts writes evenly.
func (c *Client) chunks(writes []write) ([]chunk, error) {
	texts := make([][]byte, len(writes))
	total := 0
	var buffer bytes.Buffer
	for i := range writes {
		start := buffer.Len()
		if err := writes[i].encode(&buffer); err != nil {
			return nil, fmt.Errorf("document %s: %w", writes[i].id, err)
		}
		texts[i] = buffer.Bytes()[start:]
		total += len(texts[i])
	}
	// The buffer may have moved while it grew, but what was there before stays as it was.
	parts := max(1, (total+c.cfg.BulkBytes-1)/c.cfg.BulkBytes, (len(writes)+c.cfg.BulkEach-1)/c.cfg.BulkEach)
	each, most := (total+parts-1)/parts, (len(writes)+parts-1)/parts
	var all []chunk
	var next chunk
	size := 0
	for i, text := range texts {
		if len(next.at) > 0 && (size+len(text) > max(each, c.cfg.BulkBytes) || len(next.at) >= most) {
			all, next, size = append(all, next), chunk{}, 0
		}
		next.at, next.text, size = append(next.at, i), append(next.text, text), size+len(text)
	}
	if len(next.at) > 0 {
		all = append(all, next)
	}
	return all, nil
}

// send sends a chunk when its turn has come, and again what the servers were too busy for.
func (c *Client) send(ctx context.Context, index string, rest chunk) ([]refused, error) {
	select {
	case c.inFlight <- struct{}{}:
		defer func() { <-c.inFlight }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	var all []refused
	for wait := c.waiting(); ; {
		found, busy, err := c.sendOnce(ctx, index, rest)
		all = append(all, found...)
		if err != nil || len(busy.at) == 0 {
			return all, err
		}
		rest = busy
		if !wait.again(ctx) {
			return nil, fmt.Errorf("%w: elasticsearch is too busy for %d documents", projector.ErrTransient, len(rest.at))
		}
	}
}

// bulkAnswer is what comes of a bulk.
type bulkAnswer struct {
	Errors bool `json:"errors"`
	Items  []map[string]struct {
		Status int        `json:"status"`
		Error  *itemError `json:"error"`
	} `json:"items"`
}

const bulkPath = "/_bulk?filter_path=errors,items.*.status,items.*.error"

// sendOnce sends a chunk, and returns what was refused and what is to be sent again.
func (c *Client) sendOnce(ctx context.Context, index string, sent chunk) (all []refused, busy chunk, err error) {
	var answer bulkAnswer
	err = c.call(ctx, http.MethodPost, "/"+index+bulkPath, lines(bytes.Join(sent.text, nil)), &answer)
	if tooLarge, ok := errors.AsType[*answerError](err); ok && tooLarge.Status == http.StatusRequestEntityTooLarge {
		return c.sendHalves(ctx, index, sent, tooLarge)
	}
	if err != nil {
		return nil, busy, storeError(err)
	}
	if len(answer.Items) != len(sent.at) {
		return nil, busy, fmt.Errorf("%w: elasticsearch answered for %d documents of %d", projector.ErrTransient, len(answer.Items), len(sent.at))
	}
	if !answer.Errors {
		return nil, busy, nil
	}
	for i, item := range answer.Items {
		for _, is := range item { // one
			switch {
			case is.Status < 300, is.Status == http.StatusConflict, is.Status == http.StatusNotFound && is.Error == nil: // written; known better; removed already
			case is.Status == http.StatusTooManyRequests:
				busy.at, busy.text = append(busy.at, sent.at[i]), append(busy.text, sent.text[i])
			case is.Error == nil:
				return nil, busy, fmt.Errorf("%w: elasticsearch answered %d for a document", projector.ErrTransient, is.Status)
			case isTransient(is.Status) || is.Error.Type == noSuchIndex:
				return nil, busy, storeError(&answerError{Status: is.Status, Type: is.Error.Type, Reason: is.Error.words()})
			default:
				all = append(all, refused{at: sent.at[i], reason: is.Error.Type + ": " + is.Error.words()})
			}
		}
	}
	return all, busy, nil
}

// sendHalves sends in two what is too large for one request of these servers. One document that is too large by itself
// is refused.
func (c *Client) sendHalves(ctx context.Context, index string, sent chunk, why *answerError) (all []refused, busy chunk, err error) {
	if len(sent.at) == 1 {
		return []refused{{at: sent.at[0], reason: why.Error()}}, busy, nil
	}
	half := len(sent.at) / 2
	for _, part := range []chunk{{sent.at[:half], sent.text[:half]}, {sent.at[half:], sent.text[half:]}} {
		found, again, err := c.sendOnce(ctx, index, part)
		if err != nil {
			return nil, busy, err
		}
		all = append(all, found...)
		busy.at, busy.text = append(busy.at, again.at...), append(busy.text, again.text...)
	}
	return all, busy, nil
}
