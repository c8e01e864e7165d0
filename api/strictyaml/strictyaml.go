// Package strictyaml takes YAML where a document may be written by hand, and makes JSON of it at the edge: behind it there
// is one form only. It takes what YAML and JSON mean alike, and refuses the rest by its place: a key twice, anchors and
// aliases (a few lines of which can stand for gigabytes), merge keys, tags, a second document, keys that are no texts,
// and numbers that YAML's versions read in different ways.
package strictyaml

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"carryon/domain"
)

// MediaType is that of a body in YAML (RFC 9512).
const MediaType = "application/yaml"

// Limits of a document.
const (
	MaxBytes = 1 << 20
	maxDepth = 16
)

// Document is a YAML document as JSON, and where in the text its parts stand.
type Document struct {
	JSON   []byte
	places map[string]*token.Position // by path, as in plans.ads.version
}

// IsYAML tells by a file's name whether it holds YAML.
func IsYAML(name string) bool {
	ext := strings.ToLower(filepath.Ext(name))
	return ext == ".yaml" || ext == ".yml"
}

// ReadPolicy reads a policy that stands in a file of that name, as YAML or JSON, and reports every mistake: as
// domain.DocumentErrors, with their lines in YAML.
func ReadPolicy(name string, raw []byte) (*domain.Policy, error) {
	if !IsYAML(name) {
		return domain.ParsePolicy(raw)
	}
	d, err := Read(raw)
	if err != nil {
		return nil, err
	}
	policy, err := domain.ParsePolicy(d.JSON)
	if mistakes, ok := errors.AsType[domain.DocumentErrors](err); ok {
		placed := make(domain.DocumentErrors, len(mistakes))
		for i, m := range mistakes {
			placed[i] = &domain.FieldError{Field: m.Field, Problem: m.Problem + d.Place(m.Field)}
		}
		err = placed
	}
	return policy, err
}

// Read makes JSON of a YAML document. Its errors are domain.DocumentErrors: every mistake that does not hide the rest.
func Read(raw []byte) (d *Document, err error) {
	whole := func(format string, args ...any) error {
		return domain.DocumentErrors{{Field: "document", Problem: fmt.Sprintf(format, args...)}}
	}
	if len(raw) > MaxBytes {
		return nil, whole("is larger than %d bytes", MaxBytes)
	}
	if at := nestedTooDeep(raw); at > 0 {
		return nil, whole("is nested deeper than %d (line %d)", maxDepth, at)
	}
	defer func() { // what a library does not survive is not YAML
		if p := recover(); p != nil {
			d, err = nil, whole("is not valid YAML")
		}
	}()
	file, err := parser.ParseBytes(raw, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		line, _, _ := strings.Cut(err.Error(), "\n")
		return nil, whole("is not valid YAML: %s", line)
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			return nil, whole("is followed by another at line %d; one is wanted", doc.Body.GetToken().Position.Line)
		}
		body = doc.Body
	}
	if body == nil {
		return nil, whole("is empty")
	}
	w := &writer{places: map[string]*token.Position{}}
	w.value("", body, maxDepth)
	if len(w.mistakes) > 0 {
		return nil, w.mistakes
	}
	return &Document{JSON: w.out.Bytes(), places: w.places}, nil
}

// nestedTooDeep finds the line in which brackets stand in one another too deep for anything that is meant, before a
// parser descends. In quoted texts they count, too: no policy has so many in a row.
func nestedTooDeep(raw []byte) int {
	depth, line := 0, 1
	for _, c := range raw {
		switch c {
		case '\n':
			line++
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(0, depth-1)
		}
		if depth > 4*maxDepth {
			return line
		}
	}
	return 0
}

// Place is where a part stands, as in " (line 3)"; that of what is around it when it is missing.
func (d *Document) Place(path string) string {
	for {
		if at, ok := d.places[path]; ok {
			return fmt.Sprintf(" (line %d)", at.Line)
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return ""
		}
		path = path[:cut]
	}
}

// writer writes JSON along the nodes.
type writer struct {
	out      bytes.Buffer
	places   map[string]*token.Position
	mistakes domain.DocumentErrors
}

func (w *writer) wrong(path string, at ast.Node, format string, args ...any) {
	if path == "" {
		path = "document"
	}
	problem := fmt.Sprintf(format, args...)
	if t := at.GetToken(); t != nil && t.Position != nil {
		problem += fmt.Sprintf(" (line %d)", t.Position.Line)
	}
	w.mistakes = append(w.mistakes, &domain.FieldError{Field: path, Problem: problem})
}

func (w *writer) value(path string, n ast.Node, depth int) {
	if depth == 0 {
		w.wrong(path, n, "is nested deeper than %d", maxDepth)
		return
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		w.mapping(path, n.Values, depth)
	case *ast.MappingValueNode:
		w.mapping(path, []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		w.out.WriteByte('[')
		for i, one := range n.Values {
			if i > 0 {
				w.out.WriteByte(',')
			}
			w.value(fmt.Sprintf("%s[%d]", path, i), one, depth-1)
		}
		w.out.WriteByte(']')
	case *ast.StringNode:
		w.text(n.Value)
	case *ast.LiteralNode:
		w.text(n.Value.Value)
	case *ast.NullNode:
		w.out.WriteString("null")
	case *ast.BoolNode:
		fmt.Fprint(&w.out, n.Value)
	case *ast.IntegerNode, *ast.FloatNode:
		w.number(path, n)
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		w.wrong(path, n, "has an anchor, an alias or a merge key; write out what is meant")
	case *ast.TagNode:
		w.wrong(path, n, "has the tag %s; leave it out", n.Start.Value)
	default:
		w.wrong(path, n, "is %.40q; wanted a text, a number, true, false, a list or keys with values", n.String())
	}
}

// number: as JSON writes it, and so reads the same in every version of YAML; 010 would be 8 in one and 10 in another.
var number = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`)

func (w *writer) number(path string, n ast.Node) {
	written := n.GetToken().Value
	if !number.MatchString(written) {
		w.wrong(path, n, "is %.40q; wanted a plain decimal number, or a text in quotes", written)
		return
	}
	w.out.WriteString(written)
}

func (w *writer) text(s string) {
	encoded, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string can always be written
	}
	w.out.Write(encoded)
}

func (w *writer) mapping(path string, values []*ast.MappingValueNode, depth int) {
	first := map[string]int{}
	w.out.WriteByte('{')
	for _, v := range values {
		key, ok := w.key(path, v.Key)
		if !ok {
			continue
		}
		at, line := key, v.Key.GetToken().Position.Line
		if path != "" {
			at = path + "." + key
		}
		if before, twice := first[key]; twice {
			w.wrong(at, v.Key, "stands twice, first at line %d", before)
			continue
		}
		if first[key] = line; len(first) > 1 {
			w.out.WriteByte(',')
		}
		w.places[at] = v.Key.GetToken().Position
		w.text(key)
		w.out.WriteByte(':')
		w.value(at, v.Value, depth-1)
	}
	w.out.WriteByte('}')
}

func (w *writer) key(path string, n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode: // an id of digits, as it is written
		return n.GetToken().Value, true
	case *ast.MergeKeyNode, *ast.AnchorNode, *ast.AliasNode:
		w.wrong(path, n, "has an anchor, an alias or a merge key; write out what is meant")
	default:
		w.wrong(path, n, "has the key %.40q, which is no text; put it in quotes", n.String())
	}
	return "", false
}
