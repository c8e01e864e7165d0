package query

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"carryon/domain"
	"carryon/projector"
)

// DeviceTypes asks for the device types in force.
type DeviceTypes struct{}

// DeviceTypesAnswer is the document in force.
type DeviceTypesAnswer struct {
	Version  int             `json:"version"`
	Document json.RawMessage `json:"document"` // domain.DeviceTypes
}

// DeviceTypesHandler answers DeviceTypes.
type DeviceTypesHandler struct{ p *Ports }

// Handle answers with the document in force now.
func (h DeviceTypesHandler) Handle(ctx context.Context, _ DeviceTypes) (DeviceTypesAnswer, error) {
	versions, err := h.p.policyVersions(ctx, domain.PolicyDeviceTypes)
	if err != nil {
		return DeviceTypesAnswer{}, err
	}
	v := versions.inForce(h.p.Clock())
	return DeviceTypesAnswer{Version: v.Version, Document: v.Document}, nil
}

// policyVersions are the versions of a document, in order; the first is in the program.
type policyVersions []projector.PolicyRow

// policyVersions returns domain.ErrNotFound (wrapped) for a document that there is not.
func (p *Ports) policyVersions(ctx context.Context, policy string) (policyVersions, error) {
	if p.Reference == nil || p.Clock == nil {
		return nil, fmt.Errorf("nothing here knows policies: %w", ErrUnavailable)
	}
	var first []byte
	switch policy {
	case domain.PolicyDefault:
		first = domain.DefaultPolicy().JSON()
	case domain.PolicyDeviceTypes:
		first = domain.DefaultDeviceTypes().JSON()
	default:
		return nil, fmt.Errorf("policy %q: %w", clip(policy), domain.ErrNotFound)
	}
	published, err := p.Reference.Policies(ctx)
	if err != nil {
		return nil, fmt.Errorf("versions of policy %s: %w", policy, err)
	}
	versions := policyVersions{{Policy: policy, Version: 1, Document: first}}
	for _, row := range published {
		if row.Policy == policy {
			versions = append(versions, row)
		}
	}
	return versions, nil
}

// inForce is the highest version that has come into force.
func (v policyVersions) inForce(at time.Time) projector.PolicyRow {
	for i := len(v) - 1; i > 0; i-- {
		if !v[i].EffectiveFrom.After(at) {
			return v[i]
		}
	}
	return v[0]
}

// version returns domain.ErrNotFound (wrapped) when there is no such version.
func (v policyVersions) version(n int) (projector.PolicyRow, error) {
	for _, row := range v {
		if row.Version == n {
			return row, nil
		}
	}
	return projector.PolicyRow{}, fmt.Errorf("version %d of policy %s: %w", n, v[0].Policy, domain.ErrNotFound)
}

// clip keeps what a caller sent short in messages.
func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}

// PolicyVersion asks for one version of a policy document.
type PolicyVersion struct {
	Policy  string // default, device-types
	Version int    // 1, 2, 3…; 0: the one in force
}

// PolicyVersionAnswer is a version of a policy document.
type PolicyVersionAnswer struct {
	Policy        string          `json:"policy"`
	Version       int             `json:"version"`
	EffectiveFrom time.Time       `json:"effective_from,omitzero"` // zero: from the beginning
	InForce       bool            `json:"in_force"`
	Versions      []int           `json:"versions"` // all there are
	Document      json.RawMessage `json:"document"`
}

// PolicyVersionHandler answers PolicyVersion.
type PolicyVersionHandler struct{ p *Ports }

// Handle returns domain.ErrNotFound (wrapped) for a policy or version that there is not.
func (h PolicyVersionHandler) Handle(ctx context.Context, q PolicyVersion) (PolicyVersionAnswer, error) {
	versions, err := h.p.policyVersions(ctx, q.Policy)
	if err != nil {
		return PolicyVersionAnswer{}, err
	}
	inForce := versions.inForce(h.p.Clock())
	v, err := versions.version(cmp.Or(q.Version, inForce.Version))
	if err != nil {
		return PolicyVersionAnswer{}, err
	}
	answer := PolicyVersionAnswer{
		Policy: q.Policy, Version: v.Version, EffectiveFrom: v.EffectiveFrom, InForce: v.Version == inForce.Version, Document: v.Document,
	}
	for _, row := range versions {
		answer.Versions = append(answer.Versions, row.Version)
	}
	return answer, nil
}

// PolicyDiff asks what changed between two versions of a policy document.
type PolicyDiff struct {
	Policy   string
	From, To int // versions; To 0: the one in force; From 0: the one before To
}

// PolicyDiffAnswer is what changed, field by field, in order of path.
type PolicyDiffAnswer struct {
	Policy  string   `json:"policy"`
	From    int      `json:"from"`
	To      int      `json:"to"`
	Changes []Change `json:"changes"`
}

// Change is one field that differs.
type Change struct {
	Path   string          `json:"path"`             // dotted, as in plans.ads.limits.max_download_devices
	Kind   string          `json:"kind"`             // added, removed, changed
	Before json.RawMessage `json:"before,omitempty"` // absent when added
	After  json.RawMessage `json:"after,omitempty"`  // absent when removed
}

// PolicyDiffHandler answers PolicyDiff.
type PolicyDiffHandler struct{ p *Ports }

// Handle returns domain.ErrNotFound (wrapped) for a policy or version that there is not.
func (h PolicyDiffHandler) Handle(ctx context.Context, q PolicyDiff) (PolicyDiffAnswer, error) {
	versions, err := h.p.policyVersions(ctx, q.Policy)
	if err != nil {
		return PolicyDiffAnswer{}, err
	}
	to, err := versions.version(cmp.Or(q.To, versions.inForce(h.p.Clock()).Version))
	if err != nil {
		return PolicyDiffAnswer{}, err
	}
	from, err := versions.version(cmp.Or(q.From, max(1, to.Version-1)))
	if err != nil {
		return PolicyDiffAnswer{}, err
	}
	changes, err := differences(from.Document, to.Document)
	if err != nil {
		return PolicyDiffAnswer{}, fmt.Errorf("compare versions %d and %d of policy %s: %w", from.Version, to.Version, q.Policy, err)
	}
	return PolicyDiffAnswer{Policy: q.Policy, From: from.Version, To: to.Version, Changes: changes}, nil
}

// Kinds of Change.
const (
	ChangeAdded   = "added"
	ChangeRemoved = "removed"
	ChangeChanged = "changed"
)

// differences compares two JSON documents, field by field, in order of path.
func differences(before, after []byte) ([]Change, error) {
	a, err := fieldsOf(before)
	if err != nil {
		return nil, err
	}
	b, err := fieldsOf(after)
	if err != nil {
		return nil, err
	}
	paths := slices.Sorted(maps.Keys(a))
	for path := range b {
		if _, both := a[path]; !both {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	changes := []Change{}
	for _, path := range paths {
		was, had := a[path]
		is, has := b[path]
		switch {
		case !had:
			changes = append(changes, Change{Path: path, Kind: ChangeAdded, After: is})
		case !has:
			changes = append(changes, Change{Path: path, Kind: ChangeRemoved, Before: was})
		case !bytes.Equal(was, is):
			changes = append(changes, Change{Path: path, Kind: ChangeChanged, Before: was, After: is})
		}
	}
	return changes, nil
}

// fieldsOf are the leaves of a document by their dotted path: plain values, and lists as a whole.
func fieldsOf(document []byte) (map[string]json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	var walk func(path string, raw json.RawMessage) error
	walk = func(path string, raw json.RawMessage) error {
		raw = bytes.TrimSpace(raw)
		var object map[string]json.RawMessage
		if len(raw) > 0 && raw[0] == '{' {
			if err := json.Unmarshal(raw, &object); err != nil {
				return err
			}
		}
		if len(object) == 0 {
			var compact bytes.Buffer
			err := json.Compact(&compact, raw)
			fields[path] = compact.Bytes()
			return err
		}
		for name, value := range object {
			if err := walk(strings.TrimPrefix(path+"."+name, "."), value); err != nil {
				return err
			}
		}
		return nil
	}
	return fields, walk("", document)
}
