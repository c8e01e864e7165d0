package commandapi

import (
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

// either is the schema of what may be an object or a string.
func either(registry huma.Registry, name string, object any, text *huma.Schema) *huma.Schema {
	s := registry.Schema(reflect.TypeOf(object), true, name)
	return &huma.Schema{OneOf: []*huma.Schema{s, text}}
}

func anys(words []string) []any {
	values := make([]any, len(words))
	for i, w := range words {
		values[i] = w
	}
	return values
}
