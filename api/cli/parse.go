package cli

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"carryon/api/config"
)

// What is wrong with a command line is said all at once: every flag, every variable, every key of the file, and what
// the command itself finds in its flags. So a flag that can't be read is noted and left as it is, and the reading goes on.

// checkable is a command whose flags can be wrong in a way that their types don't show.
type checkable interface {
	// check joins all that is wrong, each naming its flag and what would be right.
	check() error
}

// reading is the reading of one command line.
type reading struct {
	parser *kong.Kong
	flags  map[string]string // what is wrong with a flag's value, by its name
	others []string          // what kong says of anything else
}

// lenient are the mappers that note what they can't read.
func (r *reading) lenient() []kong.Option {
	defaults := kong.NewRegistry().RegisterDefaults()
	kind := func(of any, wanted string) kong.Option {
		return kong.TypeMapper(reflect.TypeOf(of), r.noting(defaults.ForType(reflect.TypeOf(of)), wanted))
	}
	return []kong.Option{
		kind(int(0), "is not a whole number"), kind(int64(0), "is not a whole number"), kind(uint64(0), "is not a whole number from 0 on"),
		kind(float64(0), "is not a number"), kind(time.Duration(0), "is not a duration such as 500ms, 10s or 2m"),
		kong.TypeMapper(reflect.TypeFor[time.Time](), r.noting(kong.MapperFunc(readMoment), "")),
	}
}

func (r *reading) noting(mapper kong.Mapper, wanted string) kong.Mapper {
	return kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
		given := ctx.Scan.Peek()
		err := mapper.Decode(ctx, target)
		if err == nil || !given.IsValue() { // a value that is missing
			return err //nolint:wrapcheck // kong names the flag
		}
		name := ctx.Value.Name
		if wanted == "" {
			r.flags[name] = fmt.Sprintf("--%s: %v", name, err)
		} else {
			r.flags[name] = fmt.Sprintf("--%s=%q %s; wanted: %s", name, given.String(), wanted, strings.TrimSuffix(ctx.Value.Help, "."))
		}
		return nil
	})
}

// joined writes `--ttl -5s` as `--ttl=-5s`: a negative value is one, no flag.
func joined(args []string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			return append(out, args[i:]...)
		}
		if i+1 < len(args) && strings.HasPrefix(args[i], "--") && !strings.Contains(args[i], "=") && negative.MatchString(args[i+1]) {
			out = append(out, args[i]+"="+args[i+1])
			i++
			continue
		}
		out = append(out, args[i])
	}
	return out
}

var (
	negative = regexp.MustCompile(`^-\.?[0-9]`)
	badFlag  = regexp.MustCompile(`^(?:unknown flag )?(--?[A-Za-z][A-Za-z0-9-]*)\b`)
)

// read parses, leaving out flag after flag that is none or has no value, until the rest can be read. It answers nil when
// that is not possible.
func (r *reading) read(args []string, ended func() bool) *kong.Context {
	args = joined(args)
	var left string // what followed the flag that was left out last: perhaps its value
	for range len(args) + 1 {
		clear(r.flags)
		parsed, err := r.parser.Parse(args)
		if err == nil || ended() {
			return parsed
		}
		if left != "" && strings.HasPrefix(err.Error(), "unexpected argument "+left) {
			args, left = without(args, left)
			continue
		}
		if found := badFlag.FindStringSubmatch(err.Error()); found != nil && !isValid(err) {
			r.others = append(r.others, err.Error())
			args, left = without(args, found[1])
			continue
		}
		failed, ok := errors.AsType[*kong.ParseError](err)
		if !ok || failed.Context == nil || !isValid(err) {
			r.others = append(r.others, err.Error())
			return nil
		}
		r.invalid(failed.Context, err)
		return failed.Context
	}
	return nil
}

// isValid tells whether everything could be read, so that only what was read is wrong.
func isValid(err error) bool {
	failed, ok := errors.AsType[*kong.ParseError](err)
	return ok && failed.Context != nil && failed.Context.Error == nil
}

func without(args []string, what string) (rest []string, next string) {
	i := slices.IndexFunc(args, func(a string) bool { return a == what || strings.HasPrefix(a, what+"=") })
	if i < 0 {
		return nil, "" // kong knows it by another name: nothing is left to be read
	}
	if i+1 < len(args) && args[i] == what && !strings.HasPrefix(args[i+1], "-") {
		next = args[i+1]
	}
	return slices.Delete(slices.Clone(args), i, i+1), next
}

// invalid notes every flag that has none of the values it may have, or is missing.
func (r *reading) invalid(parsed *kong.Context, err error) {
	before := len(r.flags)
	for _, path := range parsed.Path {
		node := path.Node()
		if node == nil {
			continue
		}
		for _, f := range node.Flags {
			switch {
			case f.Set && f.Enum != "" && f.Target.Kind() == reflect.String && !slices.Contains(f.EnumSlice(), f.Target.String()):
				r.flags[f.Name] = fmt.Sprintf("--%s=%q is none of %s", f.Name, f.Target.String(), possible(f.EnumSlice()))
			case f.Required && !f.Set:
				r.flags[f.Name] = fmt.Sprintf("--%s is missing; wanted: %s", f.Name, strings.TrimSuffix(f.Help, "."))
			}
		}
		for _, p := range node.Positional {
			if p.Set && p.Enum != "" && p.Target.Kind() == reflect.String && !slices.Contains(p.EnumSlice(), p.Target.String()) {
				r.flags[p.Name] = fmt.Sprintf("<%s> %q is none of %s", p.Name, p.Target.String(), possible(p.EnumSlice()))
			}
		}
	}
	if len(r.flags) == before {
		r.others = append(r.others, err.Error())
	}
}

// possible lists what may be given. Nothing may be given by leaving the flag out.
func possible(values []string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(values), func(v string) bool { return v == "" }), ", ")
}

// settings loads the configuration and gathers everything that is wrong with the command line, the environment and the
// file.
func (r *reading) settings(parsed *kong.Context, p *program) (*config.Config, []string) {
	problems := slices.Clone(r.others)
	for _, name := range sortedKeys(r.flags) {
		problems = append(problems, r.flags[name])
	}
	cfg, err := config.Load(config.Sources{Flags: p.Settings.given(), Env: os.Environ(), File: p.Config})
	problems = append(problems, separate(err)...)
	if parsed == nil || parsed.Selected() == nil {
		return cfg, problems
	}
	if c, ok := parsed.Selected().Target.Addr().Interface().(checkable); ok {
		for _, line := range separate(c.check()) {
			known := slices.ContainsFunc(sortedKeys(r.flags), func(name string) bool {
				return regexp.MustCompile(`(--|<)` + regexp.QuoteMeta(name) + `\b`).MatchString(line)
			})
			if !known { // what could not be read is as if it were not given
				problems = append(problems, line)
			}
		}
	}
	return cfg, problems
}

// separate are the errors that were joined.
func separate(err error) []string {
	if err == nil {
		return nil
	}
	many, ok := err.(interface{ Unwrap() []error }) // the outermost, as errors.Join made it
	if !ok || errors.Is(err, errUsage) && !strings.Contains(err.Error(), "\n") {
		return []string{strings.TrimPrefix(err.Error(), errUsage.Error()+": ")}
	}
	var out []string
	for _, one := range many.Unwrap() {
		out = append(out, strings.TrimPrefix(one.Error(), errUsage.Error()+": "))
	}
	return out
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
