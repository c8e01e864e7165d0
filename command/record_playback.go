package command

import (
	"context"
	"time"

	"carryon/domain"
)

// RecordPlayback reports a play, perhaps late: offline playback is reported when the device is online again. A device
// clock that can't be right is flagged and replaced by the time of receipt, not refused. A play is known by its id.
type RecordPlayback struct {
	Meta
	Customer, LicenseID string
	PlayID              string
	Kind                string // start, stop
	DeviceTime          time.Time
	PositionSeconds     int64
}

func (c *RecordPlayback) check() error {
	var f form
	f.meta(&c.Meta)
	f.id("customer", c.Customer)
	f.id("license_id", c.LicenseID)
	f.id("play_id", c.PlayID)
	f.choice("kind", c.Kind, domain.PlayStart, domain.PlayStop)
	f.deviceTime("device_time", c.DeviceTime)
	f.between("position_seconds", c.PositionSeconds, 0, MaxPositionSeconds)
	return f.err()
}

// RecordPlayback records the report.
func (a *App) RecordPlayback(ctx context.Context, c RecordPlayback) (Result, error) {
	if err := c.check(); err != nil {
		return Result{}, err
	}
	ask := domain.PlaybackReport{
		LicenseID: c.LicenseID, PlayID: c.PlayID, Kind: c.Kind, DeviceTime: c.DeviceTime.UTC().Truncate(time.Microsecond),
		PositionSeconds: c.PositionSeconds,
	}
	return a.handle(ctx, request{
		name: "play", meta: &c.Meta, stream: domain.CustomerStream(c.Customer), command: &c,
		hash: hashOf("play").text(c.Customer).text(c.LicenseID).text(c.PlayID).text(c.Kind).time(ask.DeviceTime).
			number(c.PositionSeconds).sum(),
		customer: func(books *domain.Customer, m domain.Moment) (domain.Verdict, error) {
			return books.RecordPlayback(m, ask)
		},
	})
}
