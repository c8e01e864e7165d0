package queryapi

import (
	"context"
	"strings"

	"carryon/api/web"
	"carryon/domain"
	"carryon/query"
)

func (r routes) operations() {
	const tag = "operations"
	web.Handle(r.api, r.get("list-projections", "/v1/projections", tag, "How far the read models are", "By shard: the last entry applied, the tail of the log, the lag in entries and seconds, and why a shard stands still."),
		func(ctx context.Context, _ *struct{}) (*Answer[query.ListProjectionsAnswer], error) {
			return plain(r.ask.Projections.Handle(ctx, query.ListProjections{By: by(ctx)}))
		})
	web.Handle(r.api, r.get("list-parked", "/v1/projections/{name}/parked", tag, "Which streams of a read model wait, and why", ""),
		func(ctx context.Context, in *struct {
			Name web.ID `path:"name" doc:"The read model" example:"timeline"`
			Paged
		}) (*Answer[query.ListParkedAnswer], error) {
			return plain(r.ask.Parked.Handle(ctx, query.ListParked{By: by(ctx), Model: string(in.Name), Page: in.page()}))
		})
	retry := r.get("retry-parked", "/v1/projections/{name}/parked/{stream}/retry", tag, "Let a parked stream flow again", "Applies the stream from the first event that was not applied. flows says whether it worked.")
	retry.Method = "POST"
	web.Handle(r.api, retry, func(ctx context.Context, in *struct {
		Name   web.ID    `path:"name" doc:"The read model" example:"timeline"`
		Stream string    `path:"stream" maxLength:"160" pattern:"^(customer|title|policy|failopen)/[A-Za-z0-9._~:@-]+$" patternDescription:"a stream: kind/id, the slash written as %2F" doc:"The stream, kind/id; write the slash as %2F" example:"customer/c-42"`
		Body   *struct{} `required:"false"`
	}) (*Answer[query.RetryParkedAnswer], error) {
		return plain(r.ask.RetryParked.Handle(ctx, query.RetryParked{By: by(ctx), Model: string(in.Name), Stream: domain.StreamID(strings.TrimSpace(in.Stream))}))
	})
}
