package commandapi_test

import (
	"slices"
	"strings"
	"testing"

	"carryon/api/web"
	"carryon/api/webtest"
	"carryon/domain"
)

// Each part of each route's request, made bad in each way that the OpenAPI document knows, leads to a problem that names
// the part, and to nothing else.
func TestABadRequestIsAProblemThatNamesThePartAndRecordsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	document := w.document()
	before, tried := w.events(), 0
	for _, op := range document.Operations() {
		for _, bad := range op.Bad(document) {
			tried++
			r := bad.Request
			r.Token = w.keys.Token(t, domain.RoleOperator, "")
			if key, given := r.Header["Idempotency-Key"]; given && key != "" && !strings.Contains(bad.Names, "Idempotency-Key") {
				r.Header["Idempotency-Key"] = web.NewCommandID()
			}
			a := webtest.Do(t, w.http, r)
			if a.Status < 400 || a.Status >= 500 {
				t.Errorf("%s: %s %s: status %d, want a problem with %s: %.300s", op.OperationID, bad.What, bad.Names, a.Status, bad.Names, a.Raw)
				continue
			}
			if p := a.Problem(t); !names(p, bad.Names) {
				t.Errorf("%s: %s: status %d does not name %s: %.400s", op.OperationID, bad.What, a.Status, bad.Names, a.Raw)
			}
		}
	}
	if tried < 500 {
		t.Errorf("only %d bad requests were made: the document lacks something", tried)
	}
	if after := w.events(); after != before {
		t.Errorf("%d events were recorded by bad requests", after-before)
	}
	t.Logf("%d bad requests", tried)
}

// Who copies the document's examples gets an answer.
func TestTheExamplesOfAnAcquisitionAreTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("c-1")
	body := map[string]any{}
	for name, s := range w.document().Components.Schemas["Acquisition"].Properties {
		if len(s.Examples) > 0 {
			body[name] = s.Examples[0]
		}
	}
	if len(body) < 8 {
		t.Errorf("only %d of the fields have an example", len(body))
	}
	w.must(w.send(domain.RoleDevice, "c-1", "POST", "/v1/customers/c-1/licenses/evaluate", body))
}

func names(p web.Problem, place string) bool {
	return slices.ContainsFunc(p.Errors, func(f web.FieldProblem) bool {
		return f.Field == place && f.Message != "" || place == "body" && strings.HasPrefix(f.Field, "body")
	})
}
