package queryapi

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"carryon/api/web"
	"carryon/query"
)

// liveLife is how long a stream may run. Its caller then continues with Last-Event-ID, and with a token that is still
// good.
const liveLife = time.Hour

// Stream is a live stream on its way out.
type Stream struct {
	Body func(huma.Context)
}

func (r routes) live() {
	spec := r.get("live-events", "/v1/events/live", "events", "Events as they are recorded", `Server-sent events. "event" tells an event with the fields asked for; "notice" tells why the stream ends (TOO_SLOW, CLOSING, FILTER_FAILED) or that events were left out (LEFT_OUT); in between, empty items keep the id current.

A filter is an expression in CEL over the fields, as in: type == "LicenseDenied" && code.startsWith("DEVICE_"). Continue an earlier stream with the header Last-Event-ID. A stream ends after an hour.`)
	spec.Timeout, spec.Success, spec.Stream = liveLife, "The stream.", []string{"text/event-stream"}
	web.Handle(r.api, spec, func(ctx context.Context, in *struct {
		Filter      string   `query:"filter" maxLength:"2048" doc:"Which events; all without" example:"type == \"LicenseDenied\""`
		Fields      []string `query:"fields" maxItems:"40" doc:"Fields to tell; all without" example:"[\"type\",\"code\",\"customer\"]"`
		LastEventID string   `header:"Last-Event-ID" maxLength:"4096" doc:"Continue behind this item"`
	}) (*Stream, error) {
		stream, err := r.ask.Live.Handle(ctx, query.Live{By: by(ctx), Filter: in.Filter, Fields: in.Fields, After: in.LastEventID})
		if err != nil {
			return nil, err
		}
		return &Stream{Body: func(c huma.Context) { tell(ctx, c, stream) }}, nil
	})
}

func tell(ctx context.Context, c huma.Context, stream query.LiveRun) {
	c.SetHeader("Content-Type", "text/event-stream; charset=utf-8")
	c.SetHeader("X-Accel-Buffering", "no")
	c.SetStatus(http.StatusOK)
	if c.Method() == http.MethodHead { // its answer has no body, and would never end
		return
	}
	_, w := humachi.Unwrap(c)
	web.Detach(ctx)
	control := http.NewResponseController(w)
	out := patient{w: w, control: control}
	var text bytes.Buffer
	err := stream(ctx, func(item query.LiveItem) error {
		text.Reset()
		writeItem(&text, item)
		if _, err := out.Write(text.Bytes()); err != nil {
			return err
		}
		return control.Flush()
	})
	if errors.Is(err, query.ErrUnavailable) { // the answer has begun: it is told in the stream
		text.Reset()
		writeItem(&text, query.LiveItem{Kind: query.LiveNotice, Data: []byte(`{"code":"UNAVAILABLE","detail":"the stream can't be told now; try again"}`)})
		_, _ = out.Write(text.Bytes()) // whoever listened may have gone
	}
}

// writeItem writes an item as server-sent events are written. Its data is JSON in one line.
func writeItem(out *bytes.Buffer, item query.LiveItem) {
	if item.ID != "" {
		out.WriteString("id: " + item.ID + "\n")
	}
	if item.Kind != query.LiveBeat {
		out.WriteString("event: " + item.Kind + "\ndata: ")
		out.Write(item.Data)
		out.WriteByte('\n')
	} else {
		out.WriteString(":\n")
	}
	out.WriteByte('\n')
}
