package web

import (
	"strconv"
	"strings"
)

// The ETag of what belongs to a stream is the stream's version, so that a version that was read can be named in
// If-Match. It changes when something is recorded, not when time passes: remaining durations and expiries move on under
// the same ETag.

// ETag is a version as an entity tag.
func ETag(version uint64) string { return `"` + strconv.FormatUint(version, 10) + `"` }

// IfMatch reads the version that a command is for; nil: any.
func IfMatch(header string) (*uint64, *Problem) {
	header = strings.TrimSpace(header)
	if header == "" || header == "*" {
		return nil, nil
	}
	tag, quoted := strings.CutPrefix(header, `"`)
	tag, closed := strings.CutSuffix(tag, `"`)
	version, err := strconv.ParseUint(tag, 10, 64)
	if !quoted || !closed || err != nil || tag != strconv.FormatUint(version, 10) {
		return nil, Field(Malformed, "header.If-Match", `is not one version in quotes, as in "12", nor *`)
	}
	return &version, nil
}

// NoneMatch tells whether the caller has what carries the tag already (RFC 9110, weak comparison).
func NoneMatch(header, tag string) bool {
	if header == "" || tag == "" {
		return false
	}
	for one := range strings.SplitSeq(header, ",") {
		one = strings.TrimSpace(one)
		if one == "*" || strings.TrimPrefix(one, "W/") == tag {
			return true
		}
	}
	return false
}
