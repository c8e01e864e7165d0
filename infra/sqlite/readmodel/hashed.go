package readmodel

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"

	"carryon/projector"
)

// Long values that repeat are kept once, under the first 63 bits of a hash of them, so that writing needs no look-up. Of
// a million values two share a number with a probability of 1 in 18 million.

func numberOf(parts ...string) int64 {
	h := sha256.New()
	var length [binary.MaxVarintLen64]byte
	for _, p := range parts {
		h.Write(length[:binary.PutUvarint(length[:], uint64(len(p)))])
		h.Write([]byte(p))
	}
	var sum [sha256.Size]byte
	return int64(binary.BigEndian.Uint64(h.Sum(sum[:0])) >> 1)
}

// numberOrZero is 0 for an empty value.
func numberOrZero(parts ...string) int64 {
	if parts[len(parts)-1] == "" {
		return 0
	}
	return numberOf(parts...)
}

// dimensionTable holds combinations of dimensions.
const dimensionTable = `
CREATE TABLE dimensions (
	id INTEGER PRIMARY KEY, title TEXT NOT NULL, series TEXT NOT NULL, studio TEXT NOT NULL, plan TEXT NOT NULL, country TEXT NOT NULL,
	device_type TEXT NOT NULL, device_family TEXT NOT NULL, trigger_ TEXT NOT NULL, code TEXT NOT NULL, basis TEXT NOT NULL,
	role TEXT NOT NULL, policy_version TEXT NOT NULL
);
`

var insertDimensions = Many{
	Head: `INSERT INTO dimensions (id, title, series, studio, plan, country, device_type, device_family, trigger_, code, basis, role, policy_version) VALUES`,
	Cols: 13, Key: 1, Tail: "ON CONFLICT DO NOTHING",
}

func numberOfDimensions(d *projector.Dimensions) int64 {
	return numberOf(d.TitleID, d.Series, d.Studio, d.Plan, d.Country, d.DeviceType, d.DeviceFamily, d.Trigger, d.Code, d.Basis, d.Role, strconv.Itoa(d.PolicyVersion))
}

func bindDimensions(args []any, id int64, d *projector.Dimensions) []any {
	return append(args, id, d.TitleID, d.Series, d.Studio, d.Plan, d.Country, d.DeviceType, d.DeviceFamily, d.Trigger, d.Code, d.Basis,
		d.Role, strconv.Itoa(d.PolicyVersion))
}

const dimensionColumns = "d.title, d.series, d.studio, d.plan, d.country, d.device_type, d.device_family, d.trigger_, d.code, d.basis, d.role, d.policy_version"

// scanDimensions are where to scan dimensionColumns into; the policy version is text there.
func scanDimensions(d *projector.Dimensions, policy *string) []any {
	return []any{
		&d.TitleID, &d.Series, &d.Studio, &d.Plan, &d.Country, &d.DeviceType, &d.DeviceFamily, &d.Trigger, &d.Code, &d.Basis, &d.Role, policy,
	}
}

// dimensionColumn is the column of a dimension by its public name.
func dimensionColumn(field string) (string, bool) {
	switch field {
	case "title_id":
		return "d.title", true
	case "trigger":
		return "d.trigger_", true
	case "series", "studio", "plan", "country", "device_type", "device_family", "code", "basis", "role", "policy_version":
		return "d." + field, true
	}
	return "", false
}
