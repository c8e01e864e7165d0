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

// downcast is the way back, for as long as processes run that read the older version only: a service is updated process
// by process, and the updated ones write what all of them read. What the older version has no place for is lost.
func downcast(typ string, from, to int, raw []byte) ([]byte, error) {
	for version := from; version > to; version-- {
		var err error
		switch {
		case typ == "PlaybackStarted" && version == 2:
			raw, err = downcastPlaybackStarted2(raw)
		default:
			err = fmt.Errorf("there is no way to write it: %w", ErrFutureVersion)
		}
		if err != nil {
			return nil, fmt.Errorf("%s in schema version %d for readers of version %d: %w", typ, version, to, err)
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

// downcastPlaybackStarted2 keeps the time that counts. Whether the device's clock was suspect is lost with the time of
// receipt: it explains the time that counts, and decides nothing more.
func downcastPlaybackStarted2(raw []byte) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	fields["played_at"], fields["position"] = fields["at"], fields["position_seconds"]
	for _, newer := range []string{"at", "device_time", "received_time", "clock_suspect", "position_seconds"} {
		delete(fields, newer)
	}
	return json.Marshal(fields)
}
