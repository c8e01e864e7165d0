// Package simulate makes believable traffic: households with a plan and several devices that download what is
// popular, watch it offline, report it late, renew, give back, retry, and have clocks that are wrong. The demo drives
// the handlers with it, through months of pretended time; `carryon simulate` drives any Carryon over HTTP.
//
// Everything is drawn from a seed, per household, so that a run can be repeated.
package simulate

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"carryon/domain"
)

// Kind is what an operation does.
type Kind string

// The kinds of operation.
const (
	Plan       Kind = "plan"
	Membership Kind = "membership"
	Acquire    Kind = "acquire"
	Evaluate   Kind = "evaluate"
	Renew      Kind = "renew"
	Release    Kind = "release"
	Confirm    Kind = "confirm-release"
	PlayStart  Kind = "play-start"
	PlayStop   Kind = "play-stop"
	Register   Kind = "register-device"
	Remove     Kind = "remove-device"
	Block      Kind = "block-device"
	Unblock    Kind = "unblock-device"
	Revoke     Kind = "revoke"
	Exception  Kind = "exception"
)

// Kinds lists all kinds in the order of the report.
func Kinds() []Kind {
	return []Kind{Plan, Membership, Register, Evaluate, Acquire, Renew, PlayStart, PlayStop, Release, Confirm, Remove, Block, Unblock, Revoke, Exception}
}

// Op is one command that a household, billing or support sends.
type Op struct {
	Kind       Kind
	Key        string // idempotency key, UUIDv7
	Customer   string
	DeviceID   string
	DeviceType string
	DeviceName string
	TitleID    string
	LicenseID  string
	PlayID     string
	Plan       string
	Country    string
	State      string
	Trigger    string
	Quality    string
	SizeBytes  int64
	DeviceTime time.Time
	Position   int64  // seconds
	Reason     string // reason code of a support act
	Code       string // refusal code that an exception overrides
	Replaces   string
}

// Outcome of an operation.
type Outcome int

// What an operation can come to.
const (
	Accepted Outcome = iota // done, or nothing was to do
	Refused                 // by the rules, with a code, or for the time in its key
	Rejected                // the request did not fit: an error of ours or theirs
	Busy                    // 503 with the promise that nothing happened
	Unknown                 // no answer: it may have been done
)

// Answer is what came back.
type Answer struct {
	Outcome   Outcome
	Status    int    // HTTP, when it was
	Code      string // of a refusal or problem
	Detail    string // of a problem
	Version   uint64
	Position  string
	LicenseID string
	ExpiresAt time.Time // of the licence, as a grant or a play leaves it; zero: unlimited
	// ServerTime comes with TOKEN_DRIFT: what the clock should be set by.
	ServerTime time.Time
	Decision   string // id of the decision; an equal refusal is answered with the one that was recorded first
}

func (a *Answer) expires(at *time.Time) {
	if at != nil {
		a.ExpiresAt = *at
	}
}

// codeTokenDrift: the time in a key is too old or in the future.
const codeTokenDrift = "TOKEN_DRIFT"

// Recorded tells whether this very command recorded something at Version.
func (a *Answer) Recorded(customer, key string) bool {
	switch a.Outcome {
	case Accepted:
		return a.Position != ""
	case Refused:
		return a.Position != "" && a.Decision == domain.DecisionID(customer+"/"+key)
	case Rejected, Busy, Unknown:
	}
	return false
}

// Target takes operations: the handlers themselves, or a Carryon over HTTP.
type Target interface {
	Do(ctx context.Context, op Op) Answer
}

// NewKey makes a UUIDv7 of a moment from a source of randomness.
func NewKey(at time.Time, random *rand.Rand) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(at.UnixMilli())<<16|uint64(random.Uint32()&0x0fff)|0x7000) //nolint:gosec // before the year 10889
	binary.BigEndian.PutUint64(b[8:], random.Uint64()&(1<<62-1)|1<<63)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
