package query

import (
	"context"
	"fmt"
	"slices"
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
	Rebuild    *Rebuild          `json:"rebuild,omitempty"` // the newest, if there was one since the process began
}

// Rebuild is how far a new generation of a read model is.
type Rebuild struct {
	Generation      int        `json:"generation"` // that is built
	State           string     `json:"state" enum:"filling,auditing,switching,paused,done,failed,cancelled,waiting"`
	Error           string     `json:"error,omitempty"` // why it failed
	EntriesDone     uint64     `json:"entries_done"`
	EntriesTotal    uint64     `json:"entries_total"` // grows with the log
	EventsDone      uint64     `json:"events_done"`
	EventsTotal     uint64     `json:"events_total"`
	Estimated       bool       `json:"estimated,omitempty"` // events of entries not read yet are counted at the mean of the others
	EventsPerSecond float64    `json:"events_per_second"`   // lately
	SecondsLeft     float64    `json:"seconds_left"`        // until all are applied; 0: not known
	Stage           string     `json:"stage,omitempty"`     // of its audit
	StageDone       int64      `json:"stage_done,omitempty"`
	StageTotal      int64      `json:"stage_total,omitempty"`
	Differences     int        `json:"differences,omitempty"`  // that the audit has found
	NewlyParked     int        `json:"newly_parked,omitempty"` // streams that were not parked before
	Began           *time.Time `json:"began,omitempty"`
	Ended           *time.Time `json:"ended,omitempty"`
}

// RebuildOptions say what a rebuild has to fulfil: see projector.RebuildOptions.
type RebuildOptions struct {
	Sample       int
	AcceptParked bool
}

// ProjectionShard is how far a read model is with one shard.
type ProjectionShard struct {
	Shard      int     `json:"shard"`
	Applied    uint64  `json:"applied"` // last applied entry
	Tail       uint64  `json:"tail"`    // newest entry of the log
	LagEntries uint64  `json:"lag_entries"`
	LagSeconds float64 `json:"lag_seconds"`       // age of the oldest entry that is not applied; 0: none
	Stopped    string  `json:"stopped,omitempty"` // why the shard stands still, as in "history differs"
	Unknown    string  `json:"unknown,omitempty"` // why it is not known how far behind the model is
}

// ProjectionControl is what the runtime of the projectors tells and does.
type ProjectionControl interface {
	Status(ctx context.Context) ([]Projection, error)
	// Parked lists parked streams in order of stream, after the given one. It returns domain.ErrNotFound (wrapped)
	// for a read model that there is not.
	Parked(ctx context.Context, model string, after domain.StreamID, limit int) ([]ParkedStream, error)
	// Rebuild begins a rebuild in the background, or carries on one that was begun. It returns projector.ErrRebuilding
	// (wrapped) when one is under way. All of these return domain.ErrNotFound (wrapped) for a read model that there is not.
	Rebuild(ctx context.Context, model string, o RebuildOptions) error
	// PauseRebuild, ResumeRebuild and CancelRebuild return projector.ErrNoRebuild (wrapped) when there is none that this
	// process can reach.
	PauseRebuild(ctx context.Context, model string) error
	ResumeRebuild(ctx context.Context, model string) error
	CancelRebuild(ctx context.Context, model string) error
	// Retry applies the stream from the first event that was not applied: see projector.Consumer.RetryParked for the
	// errors. It returns domain.ErrNotFound (wrapped) for a read model that there is not.
	Retry(ctx context.Context, model string, stream domain.StreamID) error
	// DropParked leaves out the event that the stream is parked at, and applies what follows. It returns
	// projector.ErrParkedElsewhere (wrapped) when the stream is parked at another event, and else what Retry does.
	DropParked(ctx context.Context, model string, stream domain.StreamID, seq uint64) error
}

// ParkedStream is a stream that waits behind an event that can't be applied.
type ParkedStream struct {
	Stream   domain.StreamID `json:"stream"`
	Shard    int             `json:"shard"`
	FirstSeq uint64          `json:"first_seq"`
	Position string          `json:"position"` // shard:index of that event
	Place    int             `json:"place"`    // of it in its entry
	Reason   string          `json:"reason"`
	Attempts int             `json:"attempts"`
	Since    time.Time       `json:"since"`
}

// ProjectionsHandler answers ListProjections.
type ProjectionsHandler struct{ p *Ports }

// Handle answers with every read model.
func (h ProjectionsHandler) Handle(ctx context.Context, q ListProjections) (ListProjectionsAnswer, error) {
	control, err := h.p.control(q.By, domain.RoleOperator, domain.RoleSupport, domain.RoleAnalyst)
	if err != nil {
		return ListProjectionsAnswer{}, err
	}
	projections, err := control.Status(ctx)
	return ListProjectionsAnswer{Projections: projections}, err
}

// control lets callers in the roles reach the projectors.
func (p *Ports) control(by Caller, roles ...domain.Role) (ProjectionControl, error) {
	if !slices.Contains(roles, by.Actor.Role) {
		return nil, fmt.Errorf("projections: %w", ErrForbidden)
	}
	if p.Control == nil {
		return nil, fmt.Errorf("no projectors in reach: %w", ErrUnavailable)
	}
	return p.Control, nil
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
	size, err := q.Page.size()
	if err != nil {
		return ListParkedAnswer{}, err
	}
	control, err := h.p.control(q.By, domain.RoleOperator)
	if err != nil {
		return ListParkedAnswer{}, err
	}
	var after domain.StreamID
	question := []string{"parked", q.Model}
	if q.Page.Cursor != "" {
		if err := h.p.Cursors.open(question, q.Page.Cursor, &after); err != nil {
			return ListParkedAnswer{}, err
		}
	}
	parked, err := control.Parked(ctx, q.Model, after, size+1)
	if err != nil {
		return ListParkedAnswer{}, fmt.Errorf("parked streams of %s: %w", clip(q.Model), err)
	}
	answer := ListParkedAnswer{Parked: parked}
	if len(parked) > size {
		answer.Parked = parked[:size]
		answer.NextCursor, err = h.p.Cursors.seal(question, parked[size-1].Stream)
	}
	return answer, err
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
	control, err := h.p.control(q.By, domain.RoleOperator)
	if err != nil {
		return RetryParkedAnswer{}, err
	}
	return retried(q.Model, q.Stream, control.Retry(ctx, q.Model, q.Stream))
}
