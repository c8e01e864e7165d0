package query

import (
	"context"
	"fmt"
	"slices"

	"carryon/domain"
)

// What was decided for everyone has a history, too: who withdrew a title or published a policy, when, and why. It is
// short and seldom asked for, so it is read from the event store.

// CommonTimeline asks what happened to a title or a policy document.
type CommonTimeline struct {
	By     Caller
	Stream domain.StreamID // of a title or a policy
}

// CommonTimelineAnswer is what happened, the newest first, at most MaxCommonEvents.
type CommonTimelineAnswer struct {
	Version uint64          `json:"version"` // the stream's seq; 0: nothing is recorded
	Events  []TimelineEvent `json:"events"`
}

// MaxCommonEvents bounds an answer.
const MaxCommonEvents = 200

// CommonTimelineHandler answers CommonTimeline.
type CommonTimelineHandler struct{ p *Ports }

// Handle answers with nothing for a title or policy of which nothing was ever recorded.
func (h CommonTimelineHandler) Handle(ctx context.Context, q CommonTimeline) (CommonTimelineAnswer, error) {
	switch q.By.Actor.Role {
	case domain.RoleService, domain.RoleSupport, domain.RoleOperator, domain.RoleSystem:
	default:
		return CommonTimelineAnswer{}, fmt.Errorf("timeline of %s: %w", q.Stream, ErrForbidden)
	}
	if h.p.Books == nil {
		return CommonTimelineAnswer{}, fmt.Errorf("no event store here: %w", ErrUnavailable)
	}
	answer := CommonTimelineAnswer{Events: []TimelineEvent{}}
	words := h.p.wordsOf(q.By, string(q.Stream)) // which their key is called by
	var newest []*domain.Event
	for e, err := range h.p.Books.Events(ctx, q.Stream, 1) {
		if err != nil {
			return CommonTimelineAnswer{}, fmt.Errorf("timeline of %s: %w", q.Stream, err)
		}
		answer.Version = e.Seq
		if newest = append(newest, e); len(newest) > MaxCommonEvents {
			newest = newest[1:]
		}
	}
	for _, e := range slices.Backward(newest) {
		row, err := timelineEvent(ctx, e, words)
		if err != nil {
			return CommonTimelineAnswer{}, fmt.Errorf("timeline of %s: %w", q.Stream, err)
		}
		answer.Events = append(answer.Events, row)
	}
	return answer, nil
}
