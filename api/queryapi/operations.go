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
	web.Handle(r.api, r.get("list-processes", "/v1/processes", tag, "Which processes there are, and what each decides and answers with",
		"The versions of policy, device types, catalogue and program, as each process told of itself a moment ago. apart names what a process has of another version than the others."),
		func(ctx context.Context, _ *struct{}) (*Answer[query.ListProcessesAnswer], error) {
			return plain(r.ask.Processes.Handle(ctx, query.ListProcesses{By: by(ctx)}))
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
	all := r.get("retry-all-parked", "/v1/projections/{name}/parked/retry", tag, "Let every parked stream of a read model flow again", "Retries one stream after the other, in their order.")
	all.Method = "POST"
	web.Handle(r.api, all, func(ctx context.Context, in *struct {
		Name web.ID    `path:"name" doc:"The read model" example:"timeline"`
		Body *struct{} `required:"false"`
	}) (*Answer[query.RetryAllParkedAnswer], error) {
		return plain(r.ask.RetryAllParked.Handle(ctx, query.RetryAllParked{By: by(ctx), Model: string(in.Name)}))
	})
	drop := r.get("drop-parked", "/v1/projections/{name}/parked/{stream}/drop", tag, "Leave out the event that a stream is parked at",
		"For good, and in this read model only: the log keeps it, and a rebuild meets it again. Who did it and why is recorded first. What follows on the event is applied; flows says whether that worked.", web.Conflict)
	drop.Method = "POST"
	web.Handle(r.api, drop, func(ctx context.Context, in *struct {
		Name   web.ID `path:"name" doc:"The read model" example:"timeline"`
		Stream string `path:"stream" maxLength:"160" pattern:"^(customer|title|policy|failopen)/[A-Za-z0-9._~:@-]+$" patternDescription:"a stream: kind/id, the slash written as %2F" doc:"The stream, kind/id; write the slash as %2F" example:"customer/c-42"`
		Body   struct {
			Seq    uint64 `json:"seq" minimum:"1" maximum:"9007199254740991" doc:"first_seq of the parked stream, as it was looked at" example:"7"`
			Reason string `json:"reason" minLength:"1" maxLength:"1000" doc:"Why" example:"written by a broken build on the test system"`
		}
	}) (*Answer[query.RetryParkedAnswer], error) {
		return plain(r.ask.DropParked.Handle(ctx, query.DropParked{
			By: by(ctx), Model: string(in.Name), Stream: domain.StreamID(strings.TrimSpace(in.Stream)), Seq: in.Body.Seq, Reason: in.Body.Reason,
		}))
	})
	rebuild := r.get("rebuild-projection", "/v1/projections/{name}/rebuild", tag, "Build a read model anew beside itself",
		"Fills a new generation from the first entry of every shard, audits it, and lets readers go over to it in one step. Meanwhile the old one serves. GET /v1/projections shows how far it is.", web.Conflict)
	rebuild.Method = "POST"
	web.Handle(r.api, rebuild, func(ctx context.Context, in *struct {
		Name web.ID `path:"name" doc:"The read model" example:"timeline"`
		Body *struct {
			Action       string `json:"action,omitempty" enum:"start,pause,resume,cancel" doc:"start without it; one that was interrupted is carried on" example:"start"`
			Sample       int    `json:"sample,omitempty" minimum:"0" maximum:"1000000000" doc:"How many streams its audit makes anew; 0: all" example:"1000"`
			AcceptParked bool   `json:"accept_parked,omitempty" doc:"Read it even when streams are parked in it that were not before"`
		} `required:"false"`
	}) (*Answer[query.RebuildModelAnswer], error) {
		q := query.RebuildModel{By: by(ctx), Model: string(in.Name)}
		if in.Body != nil {
			q.Action, q.Options = in.Body.Action, query.RebuildOptions{Sample: in.Body.Sample, AcceptParked: in.Body.AcceptParked}
		}
		return plain(r.ask.RebuildModel.Handle(ctx, q))
	})
}
