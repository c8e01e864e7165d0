package api_test

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"carryon/api/commandapi"
	"carryon/api/queryapi"
	"carryon/api/web"
	"carryon/api/webtest"
	"carryon/command"
	"carryon/query"
)

// both is a gateway with both APIs over fakes that say yes to everything, and count how often they were asked.
type both struct {
	gateway  *web.Gateway
	commands *web.API
	queries  *web.API
	keys     webtest.Keys
	asked    *atomic.Int64
}

func newBoth(t testing.TB, o web.GatewayOptions) *both {
	t.Helper()
	b := &both{keys: webtest.NewKeys("tokens"), asked: &atomic.Int64{}}
	o.Tokens = web.NewTokens(b.keys, nil)
	b.gateway = web.NewGateway(o)
	var err error
	if b.commands, err = commandapi.Mount(b.gateway, fakeCommands{b.asked}, commandapi.Options{}); err != nil {
		t.Fatal(err)
	}
	if b.queries, err = queryapi.MountQuestions(b.gateway, fakeQuestions(b.asked), queryapi.Options{}); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *both) do(t testing.TB, r webtest.Request) *webtest.Answer {
	t.Helper()
	return webtest.Do(t, b.gateway, r)
}

var _ http.Handler = (*web.Gateway)(nil)

type fakeCommands struct{ asked *atomic.Int64 }

func (f fakeCommands) did() (command.Result, error) {
	f.asked.Add(1)
	return command.Result{Version: 7}, nil
}

func (f fakeCommands) AcquireLicense(context.Context, command.AcquireLicense) (command.Result, error) {
	return f.did()
}
func (f fakeCommands) RenewLicense(context.Context, command.RenewLicense) (command.Result, error) {
	return f.did()
}
func (f fakeCommands) ReleaseLicense(context.Context, command.ReleaseLicense) (command.Result, error) {
	return f.did()
}
func (f fakeCommands) ConfirmRelease(context.Context, command.ConfirmRelease) (command.Result, error) {
	return f.did()
}
func (f fakeCommands) RevokeLicense(context.Context, command.RevokeLicense) (command.Result, error) {
	return f.did()
}
func (f fakeCommands) RecordPlayback(context.Context, command.RecordPlayback) (command.Result, error) {
	return f.did()
}
func (f fakeCommands) RegisterDevice(context.Context, command.RegisterDevice) (command.Result, error) {
	return f.did()
}
func (f fakeCommands) RemoveDevice(context.Context, command.RemoveDevice) (command.Result, error) {
	return f.did()
}
func (f fakeCommands) BlockDevice(context.Context, command.BlockDevice) (command.Result, error) {
	return f.did()
}
func (f fakeCommands) UnblockDevice(context.Context, command.UnblockDevice) (command.Result, error) {
	return f.did()
}
func (f fakeCommands) ChangePlan(context.Context, command.ChangePlan) (command.Result, error) {
	return f.did()
}
func (f fakeCommands) ChangeMembership(context.Context, command.ChangeMembership) (command.Result, error) {
	return f.did()
}
func (f fakeCommands) RevokeAllForCustomer(context.Context, command.RevokeAllForCustomer) (command.Result, error) {
	return f.did()
}
func (f fakeCommands) GrantException(context.Context, command.GrantException) (command.Result, error) {
	return f.did()
}
func (f fakeCommands) WithdrawException(context.Context, command.WithdrawException) (command.Result, error) {
	return f.did()
}
func (f fakeCommands) WithdrawTitle(context.Context, command.WithdrawTitle) (command.Result, error) {
	return f.did()
}
func (f fakeCommands) PublishPolicy(context.Context, command.PublishPolicy) (command.Result, error) {
	return f.did()
}
func (f fakeCommands) PublicKeys() []command.PublicKey {
	f.asked.Add(1)
	return []command.PublicKey{{ID: "k1", Key: make([]byte, 32), Current: true}}
}

func (f fakeCommands) Shadow() (command.ShadowReport, error) {
	f.asked.Add(1)
	return command.ShadowReport{}, nil
}

type fakeQuestion[Q, A any] struct{ asked *atomic.Int64 }

func (f fakeQuestion[Q, A]) Handle(context.Context, Q) (A, error) {
	f.asked.Add(1)
	var a A
	return a, nil
}

type fakeExport struct{ asked *atomic.Int64 }

func (f fakeExport) Handle(context.Context, query.Export) (query.Exported, error) {
	f.asked.Add(1)
	return query.Exported{Columns: []string{"a"}, Rows: func(yield func(query.Row, error) bool) { yield(query.Row{"b"}, nil) }}, nil
}

type fakeExportOf[Q any] struct{ asked *atomic.Int64 }

func (f fakeExportOf[Q]) Handle(ctx context.Context, _ Q) (query.Exported, error) {
	return fakeExport(f).Handle(ctx, query.Export{})
}

type fakeEverything struct{ asked *atomic.Int64 }

func (f fakeEverything) Handle(context.Context, query.AccessExport) (func(io.Writer) error, error) {
	f.asked.Add(1)
	return func(w io.Writer) error { _, err := io.WriteString(w, "{}"); return err }, nil
}

type fakeLive struct{ asked *atomic.Int64 }

func (f fakeLive) Handle(context.Context, query.Live) (query.LiveRun, error) {
	f.asked.Add(1)
	return func(_ context.Context, send func(query.LiveItem) error) error {
		return send(query.LiveItem{Kind: query.LiveBeat})
	}, nil
}

func fakeQuestions(n *atomic.Int64) queryapi.Questions {
	return queryapi.Questions{
		Lookup:         fakeQuestion[query.Lookup, query.LookupAnswer]{n},
		Customer:       fakeQuestion[query.Customer, query.CustomerAnswer]{n},
		Devices:        fakeQuestion[query.Devices, query.DevicesAnswer]{n},
		Licenses:       fakeQuestion[query.Licenses, query.LicensesAnswer]{n},
		Exceptions:     fakeQuestion[query.Exceptions, query.ExceptionsAnswer]{n},
		Denials:        fakeQuestion[query.Denials, query.DenialsAnswer]{n},
		Timeline:       fakeQuestion[query.Timeline, query.TimelineAnswer]{n},
		Explain:        fakeQuestion[query.Explain, query.ExplainAnswer]{n},
		State:          fakeQuestion[query.State, query.StateAnswer]{n},
		Decision:       fakeQuestion[query.Decision, query.DecisionAnswer]{n},
		SearchEvents:   fakeQuestion[query.SearchEvents, query.SearchEventsAnswer]{n},
		Analytics:      fakeQuestion[query.Analytics, query.AnalyticsAnswer]{n},
		Titles:         fakeQuestion[query.Titles, query.TitlesAnswer]{n},
		DeviceTypes:    fakeQuestion[query.DeviceTypes, query.DeviceTypesAnswer]{n},
		PolicyVersion:  fakeQuestion[query.PolicyVersion, query.PolicyVersionAnswer]{n},
		PolicyDiff:     fakeQuestion[query.PolicyDiff, query.PolicyDiffAnswer]{n},
		CommonTimeline: fakeQuestion[query.CommonTimeline, query.CommonTimelineAnswer]{n},
		Projections:    fakeQuestion[query.ListProjections, query.ListProjectionsAnswer]{n},
		Parked:         fakeQuestion[query.ListParked, query.ListParkedAnswer]{n},
		RetryParked:    fakeQuestion[query.RetryParked, query.RetryParkedAnswer]{n},
		RetryAllParked: fakeQuestion[query.RetryAllParked, query.RetryAllParkedAnswer]{n},
		DropParked:     fakeQuestion[query.DropParked, query.RetryParkedAnswer]{n},
		Processes:      fakeQuestion[query.ListProcesses, query.ListProcessesAnswer]{n},
		RebuildModel:   fakeQuestion[query.RebuildModel, query.RebuildModelAnswer]{n},
		Resolve:        fakeQuestion[query.Resolve, query.ResolveAnswer]{n},
		Access:         fakeQuestion[query.Accesses, query.AccessesAnswer]{n},
		Export:         fakeExport{n},

		ExportSearch: fakeExportOf[query.SearchEvents]{n}, ExportAnalytics: fakeExportOf[query.Analytics]{n},
		Live:         fakeLive{n},
		AccessExport: fakeEverything{n},
	}
}
