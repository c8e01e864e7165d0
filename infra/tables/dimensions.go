package tables

import (
	"strconv"

	"carryon/projector"
)

// Combinations of dimensions are kept once, under their Number.

// DimensionColumns are those of a combination, in a table called d.
const DimensionColumns = "d.title, d.series, d.studio, d.plan, d.country, d.device_type, d.device_family, d.trigger_, d.code, d.basis, d.role, d.policy_version"

// DimensionValues are what DimensionColumns hold.
func DimensionValues(d *projector.Dimensions) []string {
	return []string{
		d.TitleID, d.Series, d.Studio, d.Plan, d.Country, d.DeviceType, d.DeviceFamily, d.Trigger, d.Code, d.Basis, d.Role, strconv.Itoa(d.PolicyVersion),
	}
}

// ScanDimensions are where to scan DimensionColumns into; the policy version is text there.
func ScanDimensions(d *projector.Dimensions, policy *string) []any {
	return []any{
		&d.TitleID, &d.Series, &d.Studio, &d.Plan, &d.Country, &d.DeviceType, &d.DeviceFamily, &d.Trigger, &d.Code, &d.Basis, &d.Role, policy,
	}
}

// DimensionColumn is the column of a dimension by its public name.
func DimensionColumn(field string) (string, bool) {
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
