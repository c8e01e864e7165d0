package domain

import (
	_ "embed"
)

// DeviceType is what kind of device a client says it is.
type DeviceType struct {
	Name          string   `json:"name"`
	Family        string   `json:"family"`               // phone, tablet, computer, tv, console
	Generation    int      `json:"generation,omitempty"` // of the product, 1, 2, 3…
	OS            string   `json:"os"`
	SecurityLevel string   `json:"security_level"`      // hardware, software
	Download      bool     `json:"download"`            // can keep licences
	Qualities     []string `json:"qualities,omitempty"` // that may be downloaded; absent: all
}

// UnknownFamily is the family of a device of unknown type: default rules and a flag, not a refusal.
const UnknownFamily = "unknown"

// DeviceTypes is the policy document "device-types".
type DeviceTypes struct {
	Types map[string]DeviceType `json:"types"`
}

//go:embed defaults/device-types.json
var defaultDeviceTypes []byte

// DefaultDeviceTypes is version 1 of the document "device-types".
func DefaultDeviceTypes() *DeviceTypes { return mustParse(ParseDeviceTypes(defaultDeviceTypes)) }

// Lookup finds a device type. An unknown one gets default rules: it may download, and is of unknown family.
func (d *DeviceTypes) Lookup(id string) (DeviceType, bool) {
	t, ok := d.Types[id]
	if !ok {
		return DeviceType{Name: id, Family: UnknownFamily, OS: UnknownFamily, SecurityLevel: "software", Download: true}, false
	}
	return t, true
}

// ParseDeviceTypes reads a document and reports every mistake at once, as DocumentErrors.
func ParseDeviceTypes(document []byte) (*DeviceTypes, error) {
	p := &problems{}
	o := openDocument(document, p)
	if o == nil {
		return nil, p.err()
	}
	d := &DeviceTypes{Types: map[string]DeviceType{}}
	o.each("types", func(name string, o *object) { d.Types[name] = readDeviceType(o) })
	if len(d.Types) == 0 {
		p.add("types", "is missing or empty")
	}
	o.close()
	if err := p.err(); err != nil {
		return nil, err
	}
	return d, nil
}

func readDeviceType(o *object) DeviceType {
	t := DeviceType{
		Name:          o.filled("name"),
		Family:        o.optionalChoice("family", "phone", "tablet", "computer", "tv", "console"),
		OS:            o.filled("os"),
		SecurityLevel: o.choice("security_level", "software", "hardware"),
		Qualities:     o.qualities(),
	}
	generation, _ := o.number("generation", 0, 1000)
	t.Generation = int(generation)
	if download := o.flag("download"); download != nil {
		t.Download = *download
	} else if _, given := o.fields["download"]; !given {
		o.p.add(o.path("download"), "is missing: true or false")
	}
	if _, given := o.fields["family"]; !given {
		o.p.add(o.path("family"), "is missing")
	}
	return t
}

// Qualities are the download qualities there are.
func Qualities() []string { return []string{"standard", "high", "uhd"} }

// JSON is the canonical form of the document.
func (d *DeviceTypes) JSON() []byte { return canonical(d) }
