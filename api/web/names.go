package web

import "github.com/danielgtaylor/huma/v2"

// Names that many routes take.

// ID names a customer, device, licence, title or the like: opaque, 1 to 128 letters, digits and -._~:@
type ID string

// Schema is that of an id.
func (*ID) Schema(huma.Registry) *huma.Schema {
	shortest, longest := 1, 128
	return &huma.Schema{
		Type: huma.TypeString, MinLength: &shortest, MaxLength: &longest, Pattern: "^[A-Za-z0-9._~:@-]+$",
		PatternDescription: "an id of letters, digits and -._~:@",
	}
}

// Country is an ISO 3166-1 alpha-2 code.
type Country string

// Schema is that of a country.
func (*Country) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: formatCountry, Pattern: "^[A-Z]{2}$", PatternDescription: "a country: two capital letters of ISO 3166, as in DE"}
}
