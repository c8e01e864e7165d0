package query

import (
	"context"
	"time"

	"carryon/domain"
)

// Analytics asks how many, over time and by dimension.
type Analytics struct {
	By          Caller
	Metric      string   // downloads, renewals, plays, denials, active
	GroupBy     []string // up to three of: title_id, series, studio, plan, country, device_type, device_family, trigger, code, basis, policy_version, role
	Interval    string   // hour, day, week (from Monday), month; empty: the whole range at once
	TZ          string   // IANA name of the time zone that intervals are cut in; empty: UTC
	Measure     string   // count (default), customers, devices: distinct
	Compare     string   // previous: the range of the same length just before; empty: none
	Top         int      // groups, 1 to 100; 0: 20
	Filter      Filter   // From and To are required
	MinPosition domain.Position
}

// AnalyticsAnswer is a series per group, the largest groups first.
type AnalyticsAnswer struct {
	Metric   string      `json:"metric"`
	Measure  string      `json:"measure"`
	Interval string      `json:"interval,omitempty"`
	TZ       string      `json:"tz"`
	From     time.Time   `json:"from"`
	To       time.Time   `json:"to"`
	Times    []time.Time `json:"times"` // where each interval begins, in the time zone asked for
	Groups   []Group     `json:"groups"`
	// Others is how many groups there are besides those in Groups.
	Others int `json:"others"`
	// Total is over all groups. For distinct measures it is not the sum of the groups: who is in two counts once.
	Total    int64  `json:"total"`
	Previous *Range `json:"previous,omitempty"`
	Clipped  bool   `json:"clipped,omitempty"` // From and To were widened to whole quarters of an hour
}

// Range is the range that was compared with.
type Range struct {
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Total int64     `json:"total"`
}

// Group is a combination of values of the dimensions grouped by, in their order.
type Group struct {
	Key      []string `json:"key"`                // empty strings: events without that dimension
	Total    int64    `json:"total"`              // over the whole range; for active: at its end
	Values   []int64  `json:"values"`             // one for each of Times; for active: at the interval's end
	Previous *int64   `json:"previous,omitempty"` // Total in the range compared with
}

// AnalyticsHandler answers Analytics.
type AnalyticsHandler struct{ p *Ports }

// Handle counts.
func (h AnalyticsHandler) Handle(ctx context.Context, q Analytics) (AnalyticsAnswer, error) {
	return AnalyticsAnswer{}, ErrUnavailable
}
