package compact

import (
	"bytes"
	"strconv"
)

// readRest reads a rest as Event wrote it, and says whether it was plain: with its fields in their order and without escapes
// in texts. A page has fifty of them, which take a sixth of its time as JSON of any kind.
func readRest(head []byte) (rest, bool) {
	var r rest
	in := plainReader{in: head}
	in.text(`{"i":`, &r.ID)
	read(&in, `,"s":`, &r.Schema)
	if in.next(`,"o":`) {
		read(&in, `,"o":`, &r.Occurred)
	}
	for _, t := range []struct {
		name string
		into *string
	}{{`,"c":`, &r.Command}, {`,"h":`, &r.Hash}, {`,"r":`, &r.Correlation}, {`,"u":`, &r.Causation}} {
		if in.next(t.name) {
			in.text(t.name, t.into)
		}
	}
	read(&in, `,"v":{"policy":`, &r.Versions.Policy)
	read(&in, `,"plan":`, &r.Versions.Plan)
	read(&in, `,"device_types":`, &r.Versions.DeviceTypes)
	in.text(`,"catalogue":`, &r.Versions.Catalogue)
	read(&in, `,"reference":`, &r.Versions.Reference)
	read(&in, `},"p":{"shard":`, &r.Previous.Shard)
	read(&in, `,"index":`, &r.Previous.Index)
	read(&in, `,"place":`, &r.Previous.Place)
	in.skip(`}}`)
	if in.odd || len(in.in) > 0 {
		return rest{}, false
	}
	return r, true
}

// appendRest appends what json.Marshal makes of a rest, and says whether it did: it does not where a text needs escapes.
func appendRest(out []byte, r *rest) ([]byte, bool) {
	for _, s := range [...]string{r.ID, r.Command, r.Hash, r.Correlation, r.Causation, r.Versions.Catalogue} {
		if !isPlain(s) {
			return out, false
		}
	}
	text := func(name, s string) {
		out = append(append(append(append(out, name...), '"'), s...), '"')
	}
	number := func(name string, n int64) {
		out = strconv.AppendInt(append(out, name...), n, 10)
	}
	text(`{"i":`, r.ID)
	number(`,"s":`, int64(r.Schema))
	if r.Occurred != 0 {
		number(`,"o":`, r.Occurred)
	}
	for _, t := range [...]struct{ name, is string }{{`,"c":`, r.Command}, {`,"h":`, r.Hash}, {`,"r":`, r.Correlation}, {`,"u":`, r.Causation}} {
		if t.is != "" {
			text(t.name, t.is)
		}
	}
	number(`,"v":{"policy":`, int64(r.Versions.Policy))
	number(`,"plan":`, int64(r.Versions.Plan))
	number(`,"device_types":`, int64(r.Versions.DeviceTypes))
	text(`,"catalogue":`, r.Versions.Catalogue)
	out = strconv.AppendUint(append(out, `,"reference":`...), r.Versions.Reference, 10)
	number(`},"p":{"shard":`, int64(r.Previous.Shard))
	out = strconv.AppendUint(append(out, `,"index":`...), r.Previous.Index, 10)
	number(`,"place":`, int64(r.Previous.Place))
	return append(out, `}}`...), true
}

// isPlain tells whether a text stands in JSON as it is.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}

// plainReader reads on until something is odd, and nothing after that.
type plainReader struct {
	in  []byte
	odd bool
}

func (p *plainReader) next(name string) bool {
	return !p.odd && len(p.in) >= len(name) && string(p.in[:len(name)]) == name
}

func (p *plainReader) skip(name string) {
	if !p.next(name) {
		p.odd = true
		return
	}
	p.in = p.in[len(name):]
}

func (p *plainReader) text(name string, into *string) {
	p.skip(name)
	p.skip(`"`)
	if p.odd {
		return
	}
	end := bytes.IndexByte(p.in, '"')
	if end < 0 || bytes.IndexByte(p.in[:end], '\\') >= 0 {
		p.odd = true
		return
	}
	*into, p.in = string(p.in[:end]), p.in[end+1:]
}

func read[N int | int64 | uint64](p *plainReader, name string, into *N) {
	p.skip(name)
	if p.odd {
		return
	}
	end := 0
	for end < len(p.in) && (p.in[end] == '-' || '0' <= p.in[end] && p.in[end] <= '9') {
		end++
	}
	n, err := strconv.ParseInt(string(p.in[:end]), 10, 64) // a number beyond that is read as JSON
	if err != nil || N(n) < 0 != (n < 0) {
		p.odd = true
		return
	}
	*into, p.in = N(n), p.in[end:]
}
