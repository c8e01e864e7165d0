package strictyaml_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"carryon/api/strictyaml"
	"carryon/domain"
)

func TestThePolicyInYAMLIsThePolicyInJSON(t *testing.T) {
	t.Parallel()
	document := domain.DefaultPolicy().JSON()
	written, err := yaml.JSONToYAML(document)
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{"p.yaml": written, "P.YML": append([]byte("---\n# by hand\n"), written...), "p.json": document, "policy": document} {
		policy, err := strictyaml.ReadPolicy(name, raw)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(policy.JSON(), document) {
			t.Errorf("%s reads as\n%s\nwant\n%s", name, policy.JSON(), document)
		}
	}
	if _, err := strictyaml.ReadPolicy("p.json", written); err == nil {
		t.Error("YAML is taken for JSON")
	}
}

func TestWhatYAMLAndJSONMeanAlikeIsTaken(t *testing.T) {
	t.Parallel()
	d, err := strictyaml.Read([]byte("a: 1\nb: [x, \"y\", -2.5, true, null]\nc: {d: 'e'}\n80123456: |\n  two\n  lines\nf: 30d\ng: no\n\"h\": \"1\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"a":1,"b":["x","y",-2.5,true,null],"c":{"d":"e"},"80123456":"two\nlines\n","f":"30d","g":"no","h":"1"}`
	if string(d.JSON) != want {
		t.Errorf("read as %s\nwant    %s", d.JSON, want)
	}
}

func TestEveryMistakeIsNamedWithItsPlace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		yaml string
		want []string
	}{
		"keys twice": {"a: 1\nb: {c: 1, c: 2}\na: 2\n", []string{"b.c stands twice, first at line 2 (line 2)", "a stands twice, first at line 1 (line 3)"}},
		"a bomb": {"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", []string{
			"a has an anchor, an alias", "b has an anchor", "c[0] has an anchor", "c[1] has an anchor, an alias or a merge key; write out what is meant (line 3)",
		}},
		"a merge":                {"a: {b: 1}\nc:\n  <<: {d: 2}\n", []string{"c has an anchor, an alias or a merge key; write out what is meant (line 3)"}},
		"a tag":                  {"a: !!binary aGk=\n", []string{"a has the tag !!binary"}},
		"numbers of two minds":   {"a: 010\nb: 0x1F\nc: 1_000\nd: .inf\n", []string{`a is "010"`, `b is "0x1F"`, `c is "1_000"`, "d is"}},
		"keys that are no texts": {"true: 1\n1.5: 2\n", []string{`has the key "true"`, `has the key "1.5"`}},
		"another document":       {"a: 1\n---\nb: 2\n", []string{"is followed by another at line 3"}},
		"nothing":                {"# nothing\n", []string{"document is empty"}},
		"no YAML":                {"a: [1\n", []string{"document is not valid YAML"}},
		"deep":                   {strings.Repeat("[", 100_000), []string{"is nested deeper than 16 (line 1)"}},
		"deep by lines":          {deep(40), []string{"is nested deeper than 16 (line 17)"}},
		"large":                  {strings.Repeat("a", strictyaml.MaxBytes+1), []string{"is larger than"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			_, err := strictyaml.Read([]byte(c.yaml))
			if mistakes, ok := errors.AsType[domain.DocumentErrors](err); !ok || len(mistakes) < len(c.want) {
				t.Fatalf("%v", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is missing in:\n%v", want, err)
				}
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func deep(levels int) string {
	var b strings.Builder
	for i := range levels {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func TestMistakesOfThePolicyAreNamedWithTheirLines(t *testing.T) {
	t.Parallel()
	_, err := strictyaml.ReadPolicy("p.yaml", []byte(`general:
  on_hold_effect: shrug
  colour: red
plans:
  ads:
    version: one
    qualities: [standard, 8k]
defaults:
  rental_duration: 30
`))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		`general.on_hold_effect is "shrug"`, "refuse_new, refuse_renewal, revoke (line 2)", "general.colour is unknown", "(line 3)", `plans.ads.version is "one"`,
		"(line 6)", `plans.ads.qualities[1] is "8k"`, "(line 7)", "defaults.rental_duration is 30", "(line 9)",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
}

func FuzzWhatIsReadIsJSON(f *testing.F) {
	for _, seed := range []string{"a: 1", "- x\n- [y, {z: ~}]", "a: &b c\nd: *b", "? [a]\n: b", "\"\\u0000\": |-\n  x", "%YAML 1.2\n---\na", "a: 'b\n\n  c'", "!!map {}", "<<: 1"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := strictyaml.Read(raw)
		if err != nil {
			if _, ok := errors.AsType[domain.DocumentErrors](err); !ok {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if !json.Valid(d.JSON) {
			t.Fatalf("%q became %q", raw, d.JSON)
		}
	})
}
