package domain

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// The same refusal on unchanged state is answered from the recorded one instead of being written again. So the state
// remembers what was refused since anything else happened. Two refusals are the same when the request, the versions
// that were read, and what each rule says are.
type refusal struct {
	digest [2]uint64
	seq    uint64 // of the LicenseDenied
}

func (c *Customer) rememberRefusal(digest [2]uint64, seq uint64) {
	c.refusals = added(c.refusals, refusal{digest, seq})
	if len(c.refusals) > maxRefusals {
		c.refusals = c.refusals[1:]
	}
}

// refusedBefore is the seq of the recorded refusal that is the same as d, or 0.
func (c *Customer) refusedBefore(d *Decision) uint64 {
	if len(c.refusals) == 0 {
		return 0
	}
	digest := refusalDigest(d)
	i := slices.IndexFunc(c.refusals, func(r refusal) bool { return r.digest == digest })
	if i < 0 {
		return 0
	}
	return c.refusals[i].seq
}

func refusalDigest(d *Decision) [2]uint64 {
	var space [1536]byte
	b := space[:0]
	text := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	number := func(n *int64) {
		if n == nil {
			b = append(b, 0)
			return
		}
		b = binary.AppendVarint(append(b, 1), *n)
	}
	r := &d.Request
	for _, s := range [...]string{d.Command, d.Code, r.DeviceID, r.DeviceType, r.TitleID, r.LicenseID, r.Country, r.ProfileID,
		r.Maturity, r.Trigger, r.Quality, r.Replaces, d.Versions.Catalogue} {
		text(s)
	}
	for _, n := range [...]int{int(r.SizeBytes), d.Versions.Policy, d.Versions.Plan, d.Versions.DeviceTypes, len(d.Rules)} {
		b = binary.AppendVarint(b, int64(n))
	}
	for i := range d.Rules {
		rule := &d.Rules[i]
		text(rule.Rule)
		text(rule.Outcome)
		text(rule.Exception)
		number(rule.Used)
		number(rule.Limit)
		b = binary.AppendVarint(b, int64(instantAt(rule.ResetsAt)))
		text(rule.Detail)
		for j := range rule.HeldBy {
			text(rule.HeldBy[j].ID)
			b = binary.AppendVarint(b, int64(instantAt(rule.HeldBy[j].Until)))
		}
	}
	sum := sha256.Sum256(b)
	return [2]uint64{binary.LittleEndian.Uint64(sum[:8]), binary.LittleEndian.Uint64(sum[8:16])}
}
