package query

import (
	"context"
	"time"

	"carryon/domain"
)

// ListProjections asks how far the read models are.
type ListProjections struct{ By Caller }

// ListProjectionsAnswer is every read model with every shard.
type ListProjectionsAnswer struct {
	Projections []Projection `json:"projections"`
}

// Projection is how far one read model is.
type Projection struct {
	Name       string            `json:"name"`
	Generation int               `json:"generation"`
	Parked     int               `json:"parked"` // streams
	Shards     []ProjectionShard `json:"shards"`
}

// ProjectionShard is how far a read model is with one shard.
type ProjectionShard struct {
	Shard      int     `json:"shard"`
	Applied    uint64  `json:"applied"` // last applied entry
	Tail       uint64  `json:"tail"`    // newest entry of the log
	LagEntries uint64  `json:"lag_entries"`
	LagSeconds float64 `json:"lag_seconds"`       // age of the oldest entry that is not applied; 0: none
	Stopped    string  `json:"stopped,omitempty"` // why the shard stands still, as in "history differs"
}

// ProjectionControl is what the runtime of the projectors tells and does.
type ProjectionControl interface {
	Status(ctx context.Context) ([]Projection, error)
	// Parked lists parked streams in order of stream, after the given one. It returns domain.ErrNotFound (wrapped)
	// for a read model that there is not.
	Parked(ctx context.Context, model string, after domain.StreamID, limit int) ([]ParkedStream, error)
	// Retry applies the stream from the first event that was not applied. It returns domain.ErrNotFound (wrapped)
	// when the stream is not parked; nil when it flows again; another error when it stays parked.
	Retry(ctx context.Context, model string, stream domain.StreamID) error
}

// ParkedStream is a stream that waits behind an event that can't be applied.
type ParkedStream struct {
	Stream   domain.StreamID `json:"stream"`
	Shard    int             `json:"shard"`
	FirstSeq uint64          `json:"first_seq"`
	Position string          `json:"position"` // shard:index of that event
	Reason   string          `json:"reason"`
	Attempts int             `json:"attempts"`
	Since    time.Time       `json:"since"`
}

// ProjectionsHandler answers ListProjections.
type ProjectionsHandler struct{ p *Ports }

// Handle answers with every read model.
func (h ProjectionsHandler) Handle(ctx context.Context, q ListProjections) (ListProjectionsAnswer, error) {
	return ListProjectionsAnswer{}, ErrUnavailable
}

// ListParked asks which streams of a read model wait.
type ListParked struct {
	By    Caller
	Model string
	Page  Page
}

// ListParkedAnswer is a page of parked streams, in order of stream.
type ListParkedAnswer struct {
	Parked     []ParkedStream `json:"parked"`
	NextCursor string         `json:"next_cursor,omitempty"`
}

// ParkedHandler answers ListParked.
type ParkedHandler struct{ p *Ports }

// Handle answers with a page of parked streams.
func (h ParkedHandler) Handle(ctx context.Context, q ListParked) (ListParkedAnswer, error) {
	return ListParkedAnswer{}, ErrUnavailable
}

// RetryParked asks to try a parked stream again.
type RetryParked struct {
	By     Caller
	Model  string
	Stream domain.StreamID
}

// RetryParkedAnswer says what came of it.
type RetryParkedAnswer struct {
	Stream domain.StreamID `json:"stream"`
	Flows  bool            `json:"flows"`            // false: it stays parked
	Reason string          `json:"reason,omitempty"` // why it stays parked
}

// RetryParkedHandler answers RetryParked.
type RetryParkedHandler struct{ p *Ports }

// Handle tries the stream again.
func (h RetryParkedHandler) Handle(ctx context.Context, q RetryParked) (RetryParkedAnswer, error) {
	return RetryParkedAnswer{}, ErrUnavailable
}
