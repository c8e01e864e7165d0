package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"carryon/command"
	"carryon/domain"
)

// complaints gather what is wrong with the flags of a command, each naming its flag.
type complaints []error

// wrong complains when something is so.
func (c *complaints) wrong(is bool, format string, args ...any) {
	if is {
		*c = append(*c, fmt.Errorf("%w: "+format, append([]any{errUsage}, args...)...))
	}
}

// id wants names, where any are given.
func (c *complaints) id(flag string, names ...string) {
	for _, name := range names {
		if name != "" {
			if err := domain.CheckID(flag, name); err != nil {
				c.wrong(true, "%w", err)
			}
		}
	}
}

// country wants countries, where any are given.
func (c *complaints) country(flag string, codes ...string) {
	for _, code := range codes {
		c.wrong(code != "" && !command.IsCountry(code), "%s %q is no country of ISO 3166, two capital letters as in DE", flag, code)
	}
}

// file wants a file that is there to be read, if one is named.
func (c *complaints) file(flag, path string) {
	if path == "" {
		return
	}
	f, err := os.Open(path)
	if err != nil {
		c.wrong(true, "%s: %w", flag, err)
		return
	}
	info, err := f.Stat()
	c.wrong(err == nil && info.IsDir(), "%s: %s is a folder, a file is wanted", flag, path)
	if err := errors.Join(err, f.Close()); err != nil {
		c.wrong(true, "%s: %w", flag, err)
	}
}

// fields complains of what a handler says of its fields.
func (c *complaints) fields(err error) {
	for _, field := range fieldErrors(err) {
		c.wrong(true, "%w", &domain.FieldError{Field: flagOf(field.Field), Problem: field.Problem})
	}
}

func (c complaints) err() error { return errors.Join(c...) }

// inFlags names flags where a handler names its fields. Any other error stays as it is.
func inFlags(err error) error {
	var c complaints
	c.fields(err)
	if len(c) == 0 {
		return err
	}
	return c.err()
}

// fieldErrors are all in the tree of an error.
func fieldErrors(err error) []*domain.FieldError {
	if field, ok := err.(*domain.FieldError); ok { //nolint:errorlint // the tree is walked here
		return []*domain.FieldError{field}
	}
	var found []*domain.FieldError
	switch tree := err.(type) { //nolint:errorlint // the tree is walked here
	case interface{ Unwrap() []error }:
		for _, one := range tree.Unwrap() {
			found = append(found, fieldErrors(one)...)
		}
	case interface{ Unwrap() error }:
		return fieldErrors(tree.Unwrap())
	}
	return found
}

// flagOf is the flag that fills a field.
func flagOf(field string) string {
	switch field {
	case "q":
		return "--words"
	case "profile_id":
		return "--profile-id"
	}
	return "--" + strings.ReplaceAll(strings.TrimSuffix(field, "_id"), "_", "-")
}
