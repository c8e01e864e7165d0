package queryapi

import (
	"context"
	"fmt"
	"strconv"

	"carryon/api/web"
	"carryon/domain"
	"carryon/query"
)

// PolicyPath names a version of a policy document.
type PolicyPath struct {
	Policy  string `path:"policy" enum:"default,device-types" doc:"Which document"`
	Version string `path:"version" pattern:"^(current|[1-9][0-9]{0,8})$" patternDescription:"a version (1, 2, 3…) or current" doc:"Its version, or current for the one in force" example:"1"`
}

func (p *PolicyPath) version() int {
	n, err := strconv.Atoi(p.Version)
	if err != nil {
		return 0 // current: the pattern allows nothing else
	}
	return n
}

func (r routes) reference() {
	const tag = "reference"
	web.Handle(r.api, r.get("list-titles", "/v1/titles", tag, "Titles of the catalogue", "The most popular first."),
		func(ctx context.Context, in *struct {
			Q string `query:"q" maxLength:"512" doc:"Words or the beginning of words, or an id; all titles without" example:"stranger"`
			Paged
			Conditional
		}) (*Answer[query.TitlesAnswer], error) {
			a, err := r.ask.Titles.Handle(ctx, query.Titles{Q: in.Q, Page: in.page()})
			if err != nil {
				return nil, err
			}
			return tagged(in.Conditional, strconv.Quote(a.Catalogue), a), nil
		})
	web.Handle(r.api, r.get("list-device-types", "/v1/device-types", tag, "The device types in force", "A device of an unknown type gets the default rules, and a flag."),
		func(ctx context.Context, in *struct{ Conditional }) (*Answer[query.DeviceTypesAnswer], error) {
			a, err := r.ask.DeviceTypes.Handle(ctx, query.DeviceTypes{})
			if err != nil {
				return nil, err
			}
			return tagged(in.Conditional, fmt.Sprintf(`"device-types-%d"`, a.Version), a), nil
		})
	web.Handle(r.api, r.get("get-policy-version", "/v1/policies/{policy}/versions/{version}", tag, "A version of a policy document", ""),
		func(ctx context.Context, in *struct {
			PolicyPath
			Conditional
		}) (*Answer[query.PolicyVersionAnswer], error) {
			a, err := r.ask.PolicyVersion.Handle(ctx, query.PolicyVersion{Policy: in.Policy, Version: in.version()})
			if err != nil {
				return nil, err
			}
			return tagged(in.Conditional, fmt.Sprintf(`"%s-%d-%t-%d"`, a.Policy, a.Version, a.InForce, len(a.Versions)), a), nil
		})
	web.Handle(r.api, r.get("diff-policy-version", "/v1/policies/{policy}/versions/{version}/diff", tag, "What a version of a policy changed", "Field by field, against the version before or another one."),
		func(ctx context.Context, in *struct {
			PolicyPath
			From int `query:"from" minimum:"1" maximum:"999999999" doc:"Against this version; the one before without"`
		}) (*Answer[query.PolicyDiffAnswer], error) {
			return plain(r.ask.PolicyDiff.Handle(ctx, query.PolicyDiff{Policy: in.Policy, From: in.From, To: in.version()}))
		})
	const told = "The newest first: each version or withdrawal with who, when, the reason and its words. Of which nothing is recorded: an empty list, and version 0."
	web.Handle(r.api, r.get("get-title-timeline", "/v1/titles/{title}/timeline", tag, "What happened to a title, and why", told),
		func(ctx context.Context, in *struct {
			Title web.ID `path:"title" doc:"The title's id" example:"t00042"`
		}) (*Answer[query.CommonTimelineAnswer], error) {
			return plain(r.ask.CommonTimeline.Handle(ctx, query.CommonTimeline{By: by(ctx), Stream: domain.TitleStream(string(in.Title))}))
		})
	web.Handle(r.api, r.get("get-policy-timeline", "/v1/policies/{policy}/timeline", tag, "What happened to a policy document, and why", told),
		func(ctx context.Context, in *struct {
			Policy string `path:"policy" enum:"default,device-types" doc:"Which document"`
		}) (*Answer[query.CommonTimelineAnswer], error) {
			return plain(r.ask.CommonTimeline.Handle(ctx, query.CommonTimeline{By: by(ctx), Stream: domain.PolicyStream(in.Policy)}))
		})
	web.Handle(r.api, r.get("diff-policy", "/v1/policies/{policy}/diff", tag, "What changed between two versions of a policy", "Field by field."),
		func(ctx context.Context, in *struct {
			Policy string `path:"policy" enum:"default,device-types" doc:"Which document"`
			From   int    `query:"from" minimum:"1" maximum:"999999999" doc:"From this version; the one before to without"`
			To     int    `query:"to" minimum:"1" maximum:"999999999" doc:"To this version; the one in force without"`
		}) (*Answer[query.PolicyDiffAnswer], error) {
			return plain(r.ask.PolicyDiff.Handle(ctx, query.PolicyDiff{Policy: in.Policy, From: in.From, To: in.To}))
		})
}
