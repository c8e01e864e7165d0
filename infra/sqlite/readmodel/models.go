package readmodel

import (
	"fmt"

	"carryon/query"
)

// The models over any engine. What an engine needs to know of one beforehand is its schema.

// Schemas are those of the models that need nothing but the shared SQL: every one but the search.
func Schemas() []Schema {
	return []Schema{referenceSchema, customersSchema, timelineSchema, denialsSchema, analyticsSchema}
}

// SchemaOf is the schema of a model of Schemas.
func SchemaOf(model string) (Schema, error) {
	for _, s := range Schemas() {
		if s.Model == model {
			return s, nil
		}
	}
	return Schema{}, fmt.Errorf("no read model %q is written in the shared SQL", model)
}

// CustomersOver is the customers' states over an engine. The engine has to see to it that the pseudonyms in it are made
// with the same key: see PseudonymSample.
func CustomersOver(e Engine, pseudonyms query.Pseudonyms) *Customers {
	return &Customers{over("customers", e), pseudonyms}
}

// PseudonymSample is what the key of the pseudonyms makes of nothing. The table pseudonyms of the customers' schema keeps
// it, so that another key is noticed.
func PseudonymSample(p query.Pseudonyms) string { return p.Customer("") }

// TimelineOver is the timeline over an engine.
func TimelineOver(e Engine) *Timeline { return &Timeline{over("timeline", e)} }

// DenialsOver are the refusals over an engine.
func DenialsOver(e Engine) *Denials { return &Denials{over("denials", e)} }

// AnalyticsOver are counts, facts and lives over an engine. Its transactions of different shards change the same rows.
func AnalyticsOver(e Engine) *Analytics { return &Analytics{over("analytics", e)} }

// ReferenceOver is what was decided for everyone, over an engine.
func ReferenceOver(e Engine) *Reference { return &Reference{over("reference", e)} }
