// Package celfilter compiles the filters of the live stream. They are written in CEL: typed, without side effects, and
// with a bound on what one evaluation may cost.
package celfilter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/interpreter"

	"carryon/query"
)

// Bounds of a filter.
const (
	CostLimit = 2000 // of one evaluation, in the language's units: about one for each look at a value
	maxDepth  = 32   // of nested expressions
)

// Filters compiles filters over the fields of the live stream.
type Filters struct{ env *cel.Env }

var _ query.LiveFilters = (*Filters)(nil)

// New declares the fields.
func New() (*Filters, error) {
	options := []cel.EnvOption{
		cel.ParserRecursionLimit(maxDepth), cel.ParserExpressionSizeLimit(query.MaxLiveFilter),
		cel.ClearMacros(), cel.Macros(cel.HasMacro, cel.ExistsMacro, cel.AllMacro),
	}
	for _, f := range query.LiveFields() {
		var kind *cel.Type
		switch f.Type {
		case "string":
			kind = cel.StringType
		case "int":
			kind = cel.IntType
		case "timestamp":
			kind = cel.TimestampType
		default:
			return nil, fmt.Errorf("field %s has the type %q, which filters do not know", f.Name, f.Type)
		}
		options = append(options, cel.Variable(f.Name, kind))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("declaring the fields of filters: %w", err)
	}
	return &Filters{env}, nil
}

// Compile checks an expression.
func (f *Filters) Compile(expression string) (query.LiveFilter, error) {
	if !utf8.ValidString(expression) {
		return nil, &query.FilterError{Problem: "is not UTF-8"}
	}
	ast, issues := f.env.Compile(expression)
	if err := issues.Err(); err != nil {
		return nil, first(issues.Errors(), expression)
	}
	if kind := ast.OutputType(); !kind.IsExactType(cel.BoolType) {
		return nil, &query.FilterError{Problem: fmt.Sprintf("gives %s; it must be true or false, as in type == \"LicenseDenied\"", kind)}
	}
	if err := known(ast.NativeRep(), expression); err != nil {
		return nil, err
	}
	program, err := f.env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(CostLimit))
	if err != nil {
		return nil, &query.FilterError{Problem: err.Error()}
	}
	var texts []string
	celast.PreOrderVisit(ast.NativeRep().Expr(), celast.NewExprVisitor(func(e celast.Expr) {
		if e.Kind() != celast.LiteralKind {
			return
		}
		if text, ok := e.AsLiteral().Value().(string); ok {
			texts = append(texts, text)
		}
	}))
	compiled := filter{program, texts}
	// An event without anything in it shows at once what would cost too much for every other one, too.
	if _, err := compiled.Match(nothing); tooDear(err) {
		return nil, &query.FilterError{Problem: fmt.Sprintf("costs too much to be run on every event: more than %d looks at a value", CostLimit)}
	}
	return compiled, nil
}

func tooDear(err error) bool {
	cancelled, ok := errors.AsType[interpreter.EvalCancelledError](err)
	return ok && cancelled.Cause == interpreter.CostLimitExceeded
}

// nothing is an event with empty fields.
func nothing(name string) any {
	for _, f := range query.LiveFields() {
		if f.Name != name {
			continue
		}
		switch f.Type {
		case "int":
			return int64(0)
		case "timestamp":
			return time.Time{}
		}
		return ""
	}
	return nil
}

// first is the first error that was found, in one line.
func first(found []*common.Error, expression string) error {
	if len(found) == 0 {
		return &query.FilterError{Problem: "can't be used"}
	}
	e := found[0]
	problem, _, _ := strings.Cut(e.Message, "\n")
	return &query.FilterError{Column: column(e.Location, expression), Problem: strings.TrimPrefix(problem, "Syntax error: ")}
}

// column counts on over lines: whoever asks sends one text.
func column(at common.Location, expression string) int {
	n := at.Column() + 1
	for range at.Line() - 1 {
		if _, rest, more := strings.Cut(expression, "\n"); more {
			n += len(expression) - len(rest)
			expression = rest
		}
	}
	return max(n, 1)
}

// known refuses a comparison of a field with a word that it never holds: such a stream would be silent for ever.
func known(ast *celast.AST, expression string) error {
	var wrong error
	celast.PreOrderVisit(ast.Expr(), celast.NewExprVisitor(func(e celast.Expr) {
		if e.Kind() != celast.CallKind || len(e.AsCall().Args()) != 2 || wrong != nil {
			return
		}
		left, right := e.AsCall().Args()[0], e.AsCall().Args()[1]
		switch e.AsCall().FunctionName() {
		case operators.Equals, operators.NotEquals:
			if left.Kind() != celast.IdentKind {
				left, right = right, left
			}
			wrong = possible(ast, left, right, expression)
		case operators.In:
			if right.Kind() != celast.ListKind {
				return
			}
			for _, word := range right.AsList().Elements() {
				wrong = errors.Join(wrong, possible(ast, left, word, expression))
			}
		}
	}))
	if one, ok := errors.AsType[*query.FilterError](wrong); ok {
		return one
	}
	return wrong
}

// possible tells whether a field can hold a word, as far as both are named. One that has none is empty.
func possible(ast *celast.AST, field, word celast.Expr, expression string) error {
	if field.Kind() != celast.IdentKind || word.Kind() != celast.LiteralKind {
		return nil
	}
	text, ok := word.AsLiteral().Value().(string)
	words := query.KnownValues(field.AsIdent())
	if !ok || text == "" || words == nil || slices.Contains(words, text) {
		return nil
	}
	return &query.FilterError{
		Column:  column(ast.SourceInfo().GetStartLocation(word.ID()), expression),
		Problem: fmt.Sprintf("%s is never %q; possible are %s", field.AsIdent(), text, strings.Join(words, ", ")),
	}
}

type filter struct {
	program cel.Program
	texts   []string
}

// Texts are the texts that stand in the filter.
func (f filter) Texts() []string { return f.texts }

// Match evaluates the filter.
func (f filter) Match(field func(string) any) (bool, error) {
	value, _, err := f.program.Eval(fields(field))
	if err != nil {
		return false, fmt.Errorf("evaluating a filter: %w", err)
	}
	match, ok := value.Value().(bool)
	if !ok {
		return false, errors.New("evaluating a filter: it gives neither true nor false")
	}
	return match, nil
}

// fields is an event as the language looks it up: a field is worked out only when the expression comes to it.
type fields func(string) any

// ResolveName finds a field.
func (f fields) ResolveName(name string) (any, bool) {
	value := f(name)
	if at, ok := value.(time.Time); ok {
		return at, true
	}
	return value, value != nil
}

// Parent is none.
func (f fields) Parent() cel.Activation { return nil }
