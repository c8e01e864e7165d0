package cli

import (
	"fmt"
	"reflect"
	"time"

	"github.com/alecthomas/kong"
)

// A moment on the command line lies in a year that can be meant, as over HTTP. The zero time would be taken for no time
// at all by everything behind this.
const (
	firstYear = 1970
	lastYear  = 9999
)

func readMoment(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("time", &text); err != nil {
		return err //nolint:wrapcheck // kong names the flag
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return fmt.Errorf("%q is not a time in RFC 3339, as in 2026-03-01T12:00:00Z", text)
	}
	if year := at.UTC().Year(); year < firstYear || year > lastYear {
		return fmt.Errorf("%s is in the year %d; %d to %d are possible", text, year, firstYear, lastYear)
	}
	target.Set(reflect.ValueOf(at))
	return nil
}
