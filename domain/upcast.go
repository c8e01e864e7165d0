package domain

import (
	"encoding/json"
	"fmt"
	"time"
)

// Upcasters turn recorded bytes of schema version v into v+1, at read time; what is on disk never changes. An upcaster
// sees the payload only. It is never edited once a version was in use: a mistake in it is mended by a new version.

// upcast brings raw from one version to another, step by step.
func upcast(typ string, from, to int, raw []byte) ([]byte, error) {
	for version := from; version < to; version++ {
		var err error
		switch {
		case typ == "PlaybackStarted" && version == 1:
			raw, err = upcastPlaybackStarted1(raw)
		default:
			err = fmt.Errorf("there is no upcaster")
		}
		if err != nil {
			return nil, fmt.Errorf("upcasting %s from version %d: %w", typ, version, err)
		}
	}
	return raw, nil
}

// upcastPlaybackStarted1 knows plays that were reported when only the device's time was kept: {"played_at",
// "position"}. The time of receipt is lost; the device's time stands for it, which is how those plays were counted, so
// no count changes. Nothing was suspected then.
func upcastPlaybackStarted1(raw []byte) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	at, ok := fields["played_at"]
	if !ok {
		return nil, fmt.Errorf("played_at is missing")
	}
	var when time.Time
	if err := json.Unmarshal(at, &when); err != nil {
		return nil, fmt.Errorf("played_at: %w", err)
	}
	position, ok := fields["position"]
	if !ok {
		position = json.RawMessage("0")
	}
	delete(fields, "played_at")
	delete(fields, "position")
	fields["at"], fields["device_time"], fields["received_time"] = at, at, at
	fields["position_seconds"] = position
	return json.Marshal(fields)
}
