package internalapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"carryon/api/internalapi"
	"carryon/command"
	"carryon/domain"
)

// fill puts something into every field of a struct, whatever it is.
func fill(t *testing.T, v reflect.Value, random *rand.Rand) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("wörter <&> \" %d", random.IntN(1000)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1 + random.Int64N(1<<50))
	case reflect.Uint64:
		v.SetUint(1 + random.Uint64N(1<<60))
	case reflect.Uint8:
		v.SetUint(random.Uint64N(256))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), random)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range v.Len() {
			fill(t, v.Index(i), random)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(t, key, random)
		fill(t, value, random)
		v.SetMapIndex(key, value)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.UnixMicro(random.Int64N(1 << 50)).UTC()))
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(t, v.Field(i), random)
			}
		}
	default:
		t.Fatalf("a field of kind %s can't be filled: teach the test", v.Kind())
	}
}

func TestEveryCommandComesOverWhole(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, c := range command.Commands() {
		fill(t, reflect.ValueOf(c).Elem(), random)
		body, err := internalapi.EncodeCommand(c)
		if err != nil {
			t.Fatal(err)
		}
		back, err := internalapi.DecodeCommand(body)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, back); diff != "" {
			t.Errorf("%T, -sent +received:\n%s", c, diff)
		}
	}
}

// What a process says to its neighbours during an update must not change under them: a field that is added, renamed or
// dropped needs a new internalapi.Version, unless older processes may refuse it. To write the file anew: REWRITE=1 go test -run Golden.
func TestGoldenCommandsAreWrittenAsEver(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	var all strings.Builder
	for _, c := range command.Commands() {
		fill(t, reflect.ValueOf(c).Elem(), random)
		body, err := internalapi.EncodeCommand(c)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(body)
	}
	path := filepath.Join("testdata", "commands.v"+internalapi.Version+".ndjson")
	if os.Getenv("REWRITE") != "" {
		if err := os.WriteFile(path, []byte(all.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(golden), all.String()); diff != "" {
		t.Errorf("commands are written otherwise than in %s:\n%s", path, diff)
	}
}

func TestOnlyWhatIsUnderstoodInFullIsTaken(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"nothing":                   ``,
		"no object":                 `[]`,
		"cut short":                 `{"name":"change_plan","command":{"Customer":"a"`,
		"more than one":             `{"name":"change_plan","command":{"Customer":"a"}}{}`,
		"no command":                `{"name":"change_everything","command":{}}`,
		"an unknown field outside":  `{"name":"change_plan","command":{},"hurry":true}`,
		"an unknown field inside":   `{"name":"change_plan","command":{"Customer":"a","Discount":5}}`,
		"a field of another kind":   `{"name":"change_plan","command":{"Customer":5}}`,
		"a command without a value": `{"name":"change_plan"}`,
	} {
		if c, err := internalapi.DecodeCommand([]byte(body)); err == nil {
			t.Errorf("%s is read as %+v", name, c)
		}
	}
	if _, err := internalapi.EncodeCommand(&command.Meta{}); err == nil {
		t.Error("what is no command is written")
	}
}

func TestAResultComesOverWholeAndToTheByte(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(5, 6))
	var r command.Result
	fill(t, reflect.ValueOf(&r).Elem(), random)
	r.Elsewhere = false // says the receiver
	for i := range r.Events {
		r.Events[i].Payload = json.RawMessage(`{ "spaced":  "<&>", "n":1.50 }`)
	}
	body, err := internalapi.EncodeResult(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	back, err := internalapi.DecodeResult(body)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, back, cmpopts.IgnoreUnexported(domain.Event{}), cmp.Transformer("bytes", func(m json.RawMessage) string { return string(m) })); diff != "" {
		t.Errorf("-sent +received:\n%s", diff)
	}
}

func TestErrorsMeanTheSameOnTheOtherSide(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 2, 3, 4, 5000, time.UTC)
	sentinels := []error{
		command.ErrUnknown, command.ErrTooLarge, command.ErrStoreFull, command.ErrDiffers, command.ErrOverloaded, command.ErrClosed, command.ErrVersionConflict,
		command.ErrIdempotencyConflict, command.ErrTokenDrift, command.ErrErased, command.ErrUnavailable, command.ErrUnreadable, domain.ErrNotFound, domain.ErrConflict,
		domain.ErrFutureVersion,
	}
	for _, sent := range append(sentinels,
		fmt.Errorf("two: %w: %w", command.ErrUnreadable, command.ErrUnavailable),
		command.FieldErrors{{Field: "plan", Problem: "is missing"}, {Field: "country", Problem: "is none"}},
		fmt.Errorf("wrapped: %w", &command.DriftError{CommandTime: at, ServerTime: at.Add(time.Hour), MaxAge: time.Minute, MaxAhead: time.Second}),
		&command.OverloadedError{Queue: "shard", RetryAfter: 3 * time.Second},
		&command.VersionConflictError{Expected: 3, Actual: 7},
		errors.New("something else"),
	) {
		body, err := internalapi.EncodeResult(command.Result{}, sent)
		if err != nil {
			t.Fatal(err)
		}
		_, got := internalapi.DecodeResult(body)
		if got == nil || got.Error() != sent.Error() {
			t.Errorf("%q comes over as %q", sent, got)
		}
		for _, sentinel := range sentinels {
			if errors.Is(sent, sentinel) != errors.Is(got, sentinel) {
				t.Errorf("%q: is it %q? %t here, %t there", sent, sentinel, errors.Is(sent, sentinel), errors.Is(got, sentinel))
			}
		}
		same[command.FieldErrors](t, sent, got)
		same[*command.DriftError](t, sent, got)
		same[*command.OverloadedError](t, sent, got)
		same[*command.VersionConflictError](t, sent, got)
	}
}

func same[E error](t *testing.T, sent, got error) {
	t.Helper()
	a, was := errors.AsType[E](sent)
	b, is := errors.AsType[E](got)
	if diff := cmp.Diff(a, b); was != is || was && diff != "" {
		t.Errorf("%T: %s", a, diff)
	}
}

func TestAnAnswerThatCannotBeReadLeavesTheOutcomeUnknown(t *testing.T) {
	t.Parallel()
	for _, body := range []string{``, `{}`, `{"result":{"stream":"customer/a","surprise":1}}`, `{"read":{}}`, `<html>`} {
		if _, err := internalapi.DecodeResult([]byte(body)); !errors.Is(err, command.ErrUnknown) {
			t.Errorf("%q: %v", body, err)
		}
		if _, err := internalapi.DecodeVersion([]byte(body)); !errors.Is(err, command.ErrUnknown) {
			t.Errorf("%q: %v", body, err)
		}
	}
}

func FuzzDecodingACommandNeverPanics(f *testing.F) {
	for _, c := range command.Commands() {
		body, err := internalapi.EncodeCommand(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := internalapi.DecodeCommand(body)
		if err != nil {
			return
		}
		if _, err := internalapi.EncodeCommand(c); err != nil {
			t.Fatalf("what was read can't be written: %v", err)
		}
	})
}

// scripted is a command side that does as it is told.
type scripted struct {
	do func(ctx context.Context, c any) (command.Result, error)
}

func (s scripted) Do(ctx context.Context, c any) (command.Result, error) { return s.do(ctx, c) }

func (s scripted) Stream(_ context.Context, stream domain.StreamID) (command.Version, error) {
	state, err := domain.NewAggregate(stream)
	return command.Version{Stream: stream, State: state, Seq: 4, Position: domain.Position{Shard: 1, Index: 2, Place: 3}, Head: 9}, err
}
