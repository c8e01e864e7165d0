package query

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"carryon/domain"
	"carryon/projector"
)

// RebuildModel asks to build a read model anew beside itself, or says how to go on with that.
type RebuildModel struct {
	By      Caller
	Model   string
	Action  string // start (without), pause, resume, cancel
	Options RebuildOptions
}

// RebuildModelAnswer is how far the rebuild is now.
type RebuildModelAnswer struct {
	Projection Projection `json:"projection"`
}

// RebuildModelHandler answers RebuildModel.
type RebuildModelHandler struct{ p *Ports }

// Handle does what is asked, and answers with how far the model is then. It returns ErrConflict (wrapped) when a rebuild
// is under way that should not be, or none is that should be.
func (h RebuildModelHandler) Handle(ctx context.Context, q RebuildModel) (RebuildModelAnswer, error) {
	control, err := h.p.control(q.By, domain.RoleOperator)
	if err != nil {
		return RebuildModelAnswer{}, err
	}
	if q.Options.Sample < 0 {
		return RebuildModelAnswer{}, &domain.FieldError{Field: "sample", Problem: "is negative; 0 audits every stream"}
	}
	switch q.Action {
	case "", "start":
		err = control.Rebuild(ctx, q.Model, q.Options)
	case "pause":
		err = control.PauseRebuild(ctx, q.Model)
	case "resume":
		err = control.ResumeRebuild(ctx, q.Model)
	case "cancel":
		err = control.CancelRebuild(ctx, q.Model)
	default:
		err = &domain.FieldError{Field: "action", Problem: "is none of start, pause, resume, cancel"}
	}
	if errors.Is(err, projector.ErrRebuilding) || errors.Is(err, projector.ErrNoRebuild) {
		err = fmt.Errorf("%w: %w", ErrConflict, err)
	}
	if err != nil {
		return RebuildModelAnswer{}, fmt.Errorf("rebuild of %s: %w", clip(q.Model), err)
	}
	projections, err := control.Status(ctx)
	if err != nil {
		return RebuildModelAnswer{}, err
	}
	for _, p := range projections {
		if p.Name == q.Model {
			return RebuildModelAnswer{Projection: p}, nil
		}
	}
	return RebuildModelAnswer{}, fmt.Errorf("rebuild of %s: %w", clip(q.Model), domain.ErrNotFound)
}

// RetryAllParked asks to try every parked stream of a read model again.
type RetryAllParked struct {
	By    Caller
	Model string
}

// RetryAllParkedAnswer says what came of it.
type RetryAllParkedAnswer struct {
	Flow  int            `json:"flow"`  // streams that flow again
	Stay  int            `json:"stay"`  // streams that stay parked
	First []ParkedStream `json:"first"` // of those, some, with the reasons
}

// staying are named in an answer at most.
const staying = 20

// RetryAllParkedHandler answers RetryAllParked.
type RetryAllParkedHandler struct{ p *Ports }

// Handle tries one stream after the other, in their order.
func (h RetryAllParkedHandler) Handle(ctx context.Context, q RetryAllParked) (RetryAllParkedAnswer, error) {
	control, err := h.p.control(q.By, domain.RoleOperator)
	if err != nil {
		return RetryAllParkedAnswer{}, err
	}
	answer := RetryAllParkedAnswer{First: []ParkedStream{}}
	const page = 200
	for after := domain.StreamID(""); ; {
		parked, err := control.Parked(ctx, q.Model, after, page)
		if err != nil {
			return answer, fmt.Errorf("parked streams of %s: %w", clip(q.Model), err)
		}
		for _, p := range parked {
			after = p.Stream
			err := control.Retry(ctx, q.Model, p.Stream)
			switch still, is := errors.AsType[*projector.ParkedError](err); {
			case err == nil:
				answer.Flow++
			case errors.Is(err, projector.ErrNotParked): // somebody else has retried it
			case is:
				answer.Stay++
				if len(answer.First) < staying {
					answer.First = append(answer.First, ParkedOf(still.Parked))
				}
			default:
				return answer, fmt.Errorf("retry %s in %s: %w", p.Stream, clip(q.Model), err)
			}
		}
		if len(parked) < page {
			return answer, nil
		}
	}
}

// ParkedOf is a parked stream as it is shown.
func ParkedOf(p projector.Parked) ParkedStream {
	return ParkedStream{
		Stream: p.Stream, Shard: p.Shard, FirstSeq: p.FirstSeq, Position: p.Position.String(), Place: p.Position.Place,
		Reason: p.Reason, Attempts: p.Attempts, Since: p.Since,
	}
}

// DropParked asks to leave out, for good and in this read model only, the event that a stream is parked at.
type DropParked struct {
	By     Caller
	Model  string
	Stream domain.StreamID
	Seq    uint64 // of the event, so that nobody drops another than he has looked at
	Reason string
}

// DropParkedHandler answers DropParked.
type DropParkedHandler struct{ p *Ports }

// longestReason is in bytes.
const longestReason = 1000

// Handle records who drops what and why, and then drops it. What follows on the event is applied. It returns
// ErrConflict (wrapped) when the stream is parked at another event.
func (h DropParkedHandler) Handle(ctx context.Context, q DropParked) (RetryParkedAnswer, error) {
	control, err := h.p.control(q.By, domain.RoleOperator)
	if err != nil {
		return RetryParkedAnswer{}, err
	}
	switch {
	case q.Reason == "":
		return RetryParkedAnswer{}, &domain.FieldError{Field: "reason", Problem: "is missing"}
	case len(q.Reason) > longestReason:
		return RetryParkedAnswer{}, &domain.FieldError{Field: "reason", Problem: "is longer than 1000 bytes"}
	case !utf8.ValidString(q.Reason) || strings.ContainsFunc(q.Reason, unicode.IsControl):
		return RetryParkedAnswer{}, &domain.FieldError{Field: "reason", Problem: "holds a control character, or is not UTF-8"}
	case q.Seq == 0:
		return RetryParkedAnswer{}, &domain.FieldError{Field: "seq", Problem: "is missing: that of the event that the stream is parked at"}
	}
	whose := string(q.Stream)
	if q.Stream.Kind() == domain.KindCustomer {
		whose = q.Stream.ID()
	}
	if err := h.p.Desk.record(ctx, Access{
		Actor: q.By.Actor, Customer: whose, RequestID: q.By.RequestID, Reason: q.Reason,
		What: fmt.Sprintf("drop event %d of %s from %s", q.Seq, q.Stream, clip(q.Model)),
	}); err != nil {
		return RetryParkedAnswer{}, err
	}
	return retried(q.Model, q.Stream, control.DropParked(ctx, q.Model, q.Stream, q.Seq))
}

// retried says what came of applying a parked stream.
func retried(model string, stream domain.StreamID, err error) (RetryParkedAnswer, error) {
	if errors.Is(err, projector.ErrNotParked) {
		return RetryParkedAnswer{}, fmt.Errorf("stream %s is not parked in %s: %w", stream, clip(model), domain.ErrNotFound)
	}
	if errors.Is(err, projector.ErrParkedElsewhere) {
		return RetryParkedAnswer{}, fmt.Errorf("%w: %w", ErrConflict, err)
	}
	if parked, ok := errors.AsType[*projector.ParkedError](err); ok {
		return RetryParkedAnswer{Stream: stream, Reason: parked.Parked.Reason}, nil
	}
	if err != nil {
		return RetryParkedAnswer{}, fmt.Errorf("retry %s in %s: %w", stream, clip(model), err)
	}
	return RetryParkedAnswer{Stream: stream, Flows: true}, nil
}
