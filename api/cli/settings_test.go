package cli_test

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	"carryon/api/cli"
	"carryon/api/config"
)

func TestEverySettingHasAFlag(t *testing.T) {
	t.Parallel()
	flags := map[string]bool{}
	word := regexp.MustCompile(`[A-Z][a-z0-9]*`)
	for field := range reflect.TypeFor[cli.Settings]().Fields() {
		flags[strings.ToLower(strings.Join(word.FindAllString(field.Name, -1), "-"))] = true
	}
	for _, s := range config.Settings() {
		if !flags[s.Key] {
			t.Errorf("there is no flag --%s", s.Key)
		}
		delete(flags, s.Key)
	}
	for name := range flags {
		t.Errorf("the flag --%s is no setting", name)
	}
}
