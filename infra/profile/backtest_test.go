package profile

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"carryon/api/cli"
	"carryon/api/config"
	"carryon/api/simulate"
	"carryon/command"
	"carryon/domain"
)

// stricter is the policy in force with fewer devices and downloads for everyone.
func stricter(t *testing.T) []byte {
	t.Helper()
	document, err := os.ReadFile("../../domain/defaults/policy.json")
	if err != nil {
		t.Fatal(err)
	}
	var policy map[string]any
	if err := json.Unmarshal(document, &policy); err != nil {
		t.Fatal(err)
	}
	for _, plan := range policy["plans"].(map[string]any) {
		plan.(map[string]any)["max_download_devices"] = map[string]any{"max": 1}
	}
	document, err = json.Marshal(policy)
	if err != nil {
		t.Fatal(err)
	}
	return document
}

func TestAShadowPolicyAndABacktestFindTheSameDifferences(t *testing.T) {
	t.Parallel()
	inYAML, err := yaml.JSONToYAML(stricter(t))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, inYAML, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Sources{Flags: map[string]string{"data": t.TempDir(), "shadow-policy": file}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenEmbedded(t.Context(), c, cli.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	titles := catalogueFiles{s.catalogue}
	if _, err := simulate.Run(t.Context(), simulate.Handlers{App: s.Commands()}, simulate.Options{
		Seed: 7, Households: 60, Prefix: "h", Callers: 16, Commands: 2500, Repeats: 0.05, Patience: 3, Titles: titles, Lookup: titles.Title,
	}); err != nil {
		t.Fatal(err)
	}
	shadow, err := s.Commands().Shadow()
	if err != nil {
		t.Fatal(err)
	}
	live := map[string]command.Difference{}
	for _, d := range shadow.Latest {
		live[d.Decision] = d
	}
	policy, err := domain.ParsePolicy(stricter(t))
	if err != nil {
		t.Fatal(err)
	}
	report, err := s.Commands().Backtest(t.Context(), command.Backtest{Policy: policy, Each: func(d *command.Difference) error {
		if was, ok := live[d.Decision]; !ok || was != *d {
			t.Errorf("the backtest finds %+v, live it was %+v", *d, was)
		}
		delete(live, d.Decision)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(live) > 0 || shadow.Failed > 0 || shadow.Decided != report.Decisions || report.Total[command.WouldRefuse] == 0 {
		t.Errorf("%d differences were found live only; shadow %d decisions (%d failed), backtest %+v", len(live), shadow.Decided, shadow.Failed, report)
	}
}

func TestABacktestUnderThePolicyInForceFindsNothing(t *testing.T) {
	t.Parallel()
	s := openTest(t, t.TempDir())
	titles := catalogueFiles{s.catalogue}
	if _, err := simulate.Run(t.Context(), simulate.Handlers{App: s.Commands()}, simulate.Options{
		Seed: 8, Households: 40, Prefix: "h", Callers: 8, Commands: 1200, Patience: 3, Titles: titles, Lookup: titles.Title,
	}); err != nil {
		t.Fatal(err)
	}
	all, err := s.Commands().Backtest(t.Context(), command.Backtest{Policy: domain.DefaultPolicy()})
	if err != nil || len(all.Total) > 0 || all.Decisions < 100 {
		t.Fatalf("%+v, %v", all, err)
	}
	some, err := s.Commands().Backtest(t.Context(), command.Backtest{Policy: domain.DefaultPolicy(), Sample: 0.5, Seed: 3})
	if err != nil || some.Customers == 0 || some.Customers >= all.Customers {
		t.Fatalf("a sample of half of %d customers: %+v, %v", all.Customers, some, err)
	}
	none, err := s.Commands().Backtest(t.Context(), command.Backtest{Policy: domain.DefaultPolicy(), From: time.Now().Add(time.Hour)})
	if err != nil || none.Decisions != 0 {
		t.Fatalf("%+v, %v", none, err)
	}
	for _, wrong := range []command.Backtest{{}, {Policy: domain.DefaultPolicy(), Sample: 2}, {Policy: domain.DefaultPolicy(), From: time.Now(), To: time.Now().Add(-time.Hour)}} {
		if _, err := s.Commands().Backtest(t.Context(), wrong); err == nil {
			t.Errorf("%+v is taken", wrong)
		}
	}
}
