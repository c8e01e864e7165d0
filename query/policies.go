package query

import (
	"context"
	"encoding/json"
	"time"
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
	return DeviceTypesAnswer{}, ErrUnavailable
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
	return PolicyVersionAnswer{}, ErrUnavailable
}

// PolicyDiff asks what changed between two versions of a policy document.
type PolicyDiff struct {
	Policy   string
	From, To int // versions; From 0: the one before To
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
	return PolicyDiffAnswer{}, ErrUnavailable
}
