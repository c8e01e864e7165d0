package query_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"carryon/domain"
	"carryon/query"
)

type roll []query.Process

func (r roll) Processes(context.Context) ([]query.Process, float64, error) {
	return slices.Clone(r), 0.5, nil
}

func TestAProcessThatUsesAnotherVersionStandsApart(t *testing.T) {
	t.Parallel()
	app := query.New(query.Ports{Roll: roll{
		{Name: "c", Program: "2", Policy: 4, DeviceTypes: 1, Catalogue: "one"},
		{Name: "a", Program: "2", Policy: 3, DeviceTypes: 1, Catalogue: "one"},
		{Name: "b", Program: "1", Policy: 3, DeviceTypes: 1, Catalogue: "two"},
		{Name: "d"},
	}})
	answer, err := app.Processes.Handle(t.Context(), query.ListProcesses{By: query.Caller{Actor: domain.Actor{ID: "o", Role: domain.RoleOperator}}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{"a": {"policy"}, "b": {"program", "policy", "catalogue"}, "c": nil, "d": {"program", "policy", "device_types", "catalogue"}}
	names := make([]string, 0, len(answer.Processes))
	for _, p := range answer.Processes {
		names = append(names, p.Name)
		if !slices.Equal(p.Apart, want[p.Name]) {
			t.Errorf("%s stands apart in %v, want %v", p.Name, p.Apart, want[p.Name])
		}
	}
	if !slices.Equal(names, []string{"a", "b", "c", "d"}) || answer.ReadSecondsAgo != 0.5 {
		t.Errorf("the processes are %v, read %g s ago", names, answer.ReadSecondsAgo)
	}
}

func TestProcessesAreNoDevicesBusiness(t *testing.T) {
	t.Parallel()
	for role, roll := range map[domain.Role]query.Roll{domain.RoleDevice: roll{{Name: "a"}}, domain.RoleService: roll{{Name: "a"}}, domain.RoleOperator: nil} {
		_, err := query.New(query.Ports{Roll: roll}).Processes.Handle(t.Context(), query.ListProcesses{By: query.Caller{Actor: domain.Actor{ID: "x", Role: role}}})
		if want := map[bool]error{true: query.ErrUnavailable, false: query.ErrForbidden}[roll == nil]; !errors.Is(err, want) {
			t.Errorf("role %s: %v, want %v", role, err, want)
		}
	}
}
