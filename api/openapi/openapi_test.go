package openapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"carryon/api/openapi"
)

func TestTheCommittedDocumentsSayWhatTheRoutesDo(t *testing.T) {
	t.Parallel()
	documents, err := openapi.Documents()
	if err != nil {
		t.Fatal(err)
	}
	if len(documents) != 4 {
		t.Fatalf("%d documents, want 4", len(documents))
	}
	for name, document := range documents {
		committed, err := os.ReadFile(name)
		if err != nil {
			t.Errorf("%v: run make gen", err)
			continue
		}
		if !bytes.Equal(committed, document) {
			t.Errorf("%s is stale: run make gen", name)
		}
	}
}

func TestGeneratingTwiceGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	once, err := openapi.Documents()
	if err != nil {
		t.Fatal(err)
	}
	again, err := openapi.Documents()
	if err != nil {
		t.Fatal(err)
	}
	for name := range once {
		if !bytes.Equal(once[name], again[name]) {
			t.Errorf("%s differs between two runs", name)
		}
	}
}

// A client is generated from these documents: every reference leads somewhere, every operation has a name of its own
// and says who may use it, and everything that is asked for is described.
func TestTheDocumentsAreWholeAndDescribeWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	documents, err := openapi.Documents()
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, name := range []string{"command.json", "query.json"} {
		var d map[string]any
		if err := json.Unmarshal(documents[name], &d); err != nil {
			t.Fatal(err)
		}
		if d["openapi"] != "3.1.0" {
			t.Errorf("%s is of version %v", name, d["openapi"])
		}
		references(d, func(ref string) {
			if !leads(d, ref) {
				t.Errorf("%s: %s leads nowhere", name, ref)
			}
		})
		for path, methods := range d["paths"].(map[string]any) {
			for method, one := range methods.(map[string]any) {
				op := one.(map[string]any)
				at := fmt.Sprintf("%s %s", method, path)
				id, _ := op["operationId"].(string)
				if ids[id] || !regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`).MatchString(id) {
					t.Errorf("%s: the operation id %q is not one of its own", at, id)
				}
				ids[id] = true
				for _, field := range []string{"summary", "description", "tags"} {
					if op[field] == nil {
						t.Errorf("%s: no %s", at, field)
					}
				}
				if _, secured := op["security"]; secured == strings.Contains(op["description"].(string), "For everyone") {
					t.Errorf("%s: does not say who may use it", at)
				}
				checkAsked(t, d, at, op)
			}
		}
	}
}

func checkAsked(t *testing.T, d map[string]any, at string, op map[string]any) {
	t.Helper()
	parameters, _ := op["parameters"].([]any)
	for _, one := range parameters {
		if parameter := one.(map[string]any); parameter["description"] == nil {
			t.Errorf("%s: parameter %s is not described", at, parameter["name"])
		}
	}
	if body, ok := op["requestBody"].(map[string]any); ok {
		schema := body["content"].(map[string]any)["application/json"].(map[string]any)["schema"].(map[string]any)
		described(t, d, at+" body", schema)
	}
	for _, status := range []string{"200", "400", "422", "500", "503"} {
		if op["responses"].(map[string]any)[status] == nil {
			t.Errorf("%s: no answer %s", at, status)
		}
	}
}

func described(t *testing.T, d map[string]any, at string, schema map[string]any) {
	t.Helper()
	if ref, ok := schema["$ref"].(string); ok {
		schema = find(d, ref).(map[string]any)
	}
	properties, _ := schema["properties"].(map[string]any)
	for name, one := range properties {
		property := one.(map[string]any)
		if property["description"] == nil {
			t.Errorf("%s.%s is not described", at, name)
		}
		described(t, d, at+"."+name, property)
	}
	alternatives, _ := schema["oneOf"].([]any)
	for _, one := range alternatives {
		described(t, d, at, one.(map[string]any))
	}
}

func references(v any, visit func(ref string)) {
	switch v := v.(type) {
	case map[string]any:
		for key, member := range v {
			if ref, ok := member.(string); ok && key == "$ref" {
				visit(ref)
			}
			references(member, visit)
		}
	case []any:
		for _, item := range v {
			references(item, visit)
		}
	}
}

func leads(d map[string]any, ref string) bool { return find(d, ref) != nil }

func find(d map[string]any, ref string) any {
	var at any = d
	for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		members, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = members[part]
	}
	return at
}
