package readmodel

import (
	"strconv"

	"carryon/projector"
)

// dimensionTable holds combinations of dimensions.
const dimensionTable = `
CREATE TABLE dimensions (
	id INTEGER PRIMARY KEY, title TEXT NOT NULL, series TEXT NOT NULL, studio TEXT NOT NULL, plan TEXT NOT NULL, country TEXT NOT NULL,
	device_type TEXT NOT NULL, device_family TEXT NOT NULL, trigger_ TEXT NOT NULL, code TEXT NOT NULL, basis TEXT NOT NULL,
	role TEXT NOT NULL, policy_version TEXT NOT NULL
);
`

var insertDimensions = many{
	Head: `INSERT INTO dimensions (id, title, series, studio, plan, country, device_type, device_family, trigger_, code, basis, role, policy_version) VALUES`,
	Cols: 13, Tail: "ON CONFLICT DO NOTHING",
}

func bindDimensions(args []any, id int64, d *projector.Dimensions) []any {
	return append(args, id, d.TitleID, d.Series, d.Studio, d.Plan, d.Country, d.DeviceType, d.DeviceFamily, d.Trigger, d.Code, d.Basis,
		d.Role, strconv.Itoa(d.PolicyVersion))
}
