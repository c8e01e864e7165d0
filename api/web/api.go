package web

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"carryon/api/strictyaml"
	"carryon/domain"
)

// An API is a set of routes with one OpenAPI document. A request to a route passes, in this order: the token, the row of
// the access table, the names of its parameters, its body, the deadline; then huma reads it into the route's input and
// checks types and ranges; then the handler answers.

const (
	DefaultMaxBody     = 64 << 10 // bytes of a body
	securitySchemeName = "token"
	apiVersion         = "1.0.0" // of the routes, not of the program: within /v1 things are only added
)

// Spec is what a route is.
type Spec struct {
	ID          string // operation id; never changes
	Method      string
	Path        string
	Tag         string
	Summary     string
	Description string
	Timeout     time.Duration // until the handler is given up
	MaxBody     int64         // bytes; 0: DefaultMaxBody
	Problems    []Kind        // besides those that every such route has
	Success     string        // what 200 means; empty: "OK"
	Stream      []string      // media types of an answer that the handler writes itself
	YAML        bool          // the body may also be YAML

	queries map[string]bool // names of its query parameters
}

// commands tells whether the route may change something.
func (s *Spec) commands() bool { return s.Method != http.MethodGet }

// Handler answers a request that was read into an I.
type Handler[I, O any] func(ctx context.Context, in *I) (*O, error)

// API is a set of routes.
type API struct {
	gateway *Gateway
	huma    huma.API
	specs   []*Spec
	wrong   []error
}

// NewAPI begins an API on a gateway.
func NewAPI(g *Gateway, title, version, description string, tags []*huma.Tag) *API {
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: title, Version: cmp.Or(version, apiVersion), Description: description},
			Tags:    tags,
			Components: &huma.Components{
				Schemas:   registry,
				Responses: problemResponses(registry),
				SecuritySchemes: map[string]*huma.SecurityScheme{securitySchemeName: {
					Type: "http", Scheme: "bearer", BearerFormat: "JWT",
					Description: "A token from `carryon token --role ROLE`, signed with Ed25519. Each operation names the roles that may use it.",
				}},
			},
		},
		Formats:       map[string]huma.Format{"application/json": asWritten, "application/problem+json": asWritten, "json": asWritten},
		DefaultFormat: "application/json",
	}
	a := &API{gateway: g}
	config.Transformers = []huma.Transformer{a.transform, written}
	a.huma = humachi.New(g.router, config)
	a.huma.UseMiddleware(a.enter, a.authorize, a.read)
	return a
}

// Handle adds a route to an API. Mistakes, as a route without a row in the access table, are told by API.Err.
func Handle[I, O any](a *API, s Spec, handler Handler[I, O]) {
	row, ok := accessOf(s.Method, s.Path)
	if !ok {
		a.wrong = append(a.wrong, fmt.Errorf("route %s %s has no row in the access table", s.Method, s.Path))
		return
	}
	if s.Timeout <= 0 {
		a.wrong = append(a.wrong, fmt.Errorf("route %s %s has no deadline", s.Method, s.Path))
		return
	}
	if s.MaxBody == 0 {
		s.MaxBody = DefaultMaxBody
	}
	s.queries = queryNames(reflect.TypeFor[I]())
	op := a.operation(&s, row)
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handler(ctx, in)
		if err != nil {
			p := placed(ctx, s.Failure(err))
			p.Instance = instance(RequestOf(ctx).ID)
			note(ctx, p)
			return nil, p
		}
		return out, nil
	})
	a.specs = append(a.specs, &s)
}

// Err tells what is wrong with the routes.
func (a *API) Err() error { return errors.Join(a.wrong...) }

// Routes lists the routes.
func (a *API) Routes() []Spec {
	specs := make([]Spec, len(a.specs))
	for i, s := range a.specs {
		specs[i] = *s
	}
	return specs
}

func (a *API) operation(s *Spec, row AccessRow) huma.Operation {
	var body *huma.RequestBody
	if s.YAML { // huma adds JSON
		text := &huma.Schema{Type: "object", Description: "The same document in YAML, without anchors, aliases, merge keys and tags"}
		body = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{strictyaml.MediaType: {Schema: text}}}
	}
	op := huma.Operation{
		RequestBody: body,
		OperationID: s.ID, Method: s.Method, Path: s.Path, Tags: []string{s.Tag}, Summary: s.Summary,
		Description:      strings.TrimSpace(s.Description + "\n\n" + s.whoMay(row) + fmt.Sprintf(" Deadline: %s.", s.Timeout)),
		MaxBodyBytes:     -1, // read has read it
		BodyReadTimeout:  -1,
		SkipValidateBody: true, // read has checked it
		Metadata:         map[string]any{"spec": s, "row": row},
		Responses:        s.responses(row),
	}
	if !row.Public() {
		op.Security = []map[string][]string{{securitySchemeName: {}}}
	}
	return op
}

func (s *Spec) whoMay(row AccessRow) string {
	if row.Public() {
		return "For everyone, without a token."
	}
	roles := strings.Join(strings.Fields(row.Who), ", ")
	if slices.Contains(row.Roles(), domain.RoleDevice) && strings.Contains(s.Path, "{customer}") {
		roles = strings.Replace(roles, "device", "device (its own customer only)", 1)
	}
	return "Roles: " + roles + "."
}

// responses are the answers of a route besides the good one.
func (s *Spec) responses(row AccessRow) map[string]*huma.Response {
	kinds := slices.Concat([]Kind{Malformed, Invalid, Internal, Overloaded, Unavailable, DeadlineExceeded}, s.Problems)
	if !row.Public() {
		kinds = append(kinds, Unauthenticated, Forbidden)
	}
	if strings.Contains(s.Path, "{") {
		kinds = append(kinds, NotFound)
	}
	if s.commands() {
		kinds = append(kinds, TooLarge, UnsupportedMediaType, TimedOut, OutcomeUnknown, ShuttingDown)
	}
	responses := map[string]*huma.Response{}
	for _, k := range kinds {
		responses[strconv.Itoa(k.Status)] = &huma.Response{Ref: "#/components/responses/" + strconv.Itoa(k.Status)}
	}
	if len(s.Stream) > 0 {
		ok := &huma.Response{Description: s.Success, Content: map[string]*huma.MediaType{}}
		for _, kind := range s.Stream {
			ok.Content[kind] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
		}
		responses["200"] = ok
	} else if s.Success != "" {
		responses["200"] = &huma.Response{Description: s.Success}
	}
	return responses
}

// problemResponses are the problems by status, with every type that the status can have.
func problemResponses(registry huma.Registry) map[string]*huma.Response {
	schema := registry.Schema(reflect.TypeFor[Problem](), true, "Problem")
	byStatus := map[string]*huma.Response{}
	for _, k := range Kinds() {
		code := k.Code
		if code == "" {
			code = "the code of the rule that refuses"
		}
		status := strconv.Itoa(k.Status)
		r := byStatus[status]
		if r == nil {
			r = &huma.Response{Content: map[string]*huma.MediaType{"application/problem+json": {Schema: schema}}, Headers: map[string]*huma.Param{}}
			byStatus[status] = r
		}
		r.Description += fmt.Sprintf("%s (`%s`, %s). ", k.Title, k.Type(), code)
		switch k.Status {
		case http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			r.Headers["Retry-After"] = &huma.Param{Description: "seconds", Schema: &huma.Schema{Type: huma.TypeInteger}}
		case http.StatusUnauthorized:
			r.Headers["WWW-Authenticate"] = &huma.Param{Schema: &huma.Schema{Type: huma.TypeString}}
		case http.StatusPreconditionFailed:
			r.Headers["ETag"] = &huma.Param{Description: "the version now, in quotes", Schema: &huma.Schema{Type: huma.TypeString}}
		}
	}
	for _, r := range byStatus {
		r.Description = strings.TrimSpace(r.Description)
	}
	return byStatus
}

func queryNames(input reflect.Type) map[string]bool {
	names := map[string]bool{}
	for i := range input.NumField() {
		f := input.Field(i)
		if f.Anonymous && f.Type.Kind() == reflect.Struct {
			maps.Copy(names, queryNames(f.Type))
		} else if tag := f.Tag.Get("query"); tag != "" {
			name, _, _ := strings.Cut(tag, ",")
			names[name] = true
		}
	}
	return names
}

// enter notes the route for logs and metrics.
func (a *API) enter(ctx huma.Context, next func(huma.Context)) {
	known := RequestOf(ctx.Context())
	known.route = ctx.Operation().Path
	for _, parameter := range ctx.Operation().Parameters {
		if parameter.In == "path" && parameter.Name != "policy" && parameter.Name != "name" && parameter.Name != "metric" {
			known.hide = append(known.hide, ctx.Param(parameter.Name))
		}
	}
	next(ctx)
}

// authorize lets in whom the access table lets in.
func (a *API) authorize(ctx huma.Context, next func(huma.Context)) {
	row, ok := ctx.Operation().Metadata["row"].(AccessRow)
	if !ok {
		a.refuse(ctx, New(Internal, "this route is not in the access table"))
		return
	}
	if row.Public() {
		next(ctx)
		return
	}
	r, _ := humachi.Unwrap(ctx)
	who, p := a.gateway.tokens.authenticate(r.Header)
	if p == nil {
		p = row.admit(who, ctx.Param("customer"))
	}
	if p != nil {
		a.refuse(ctx, p)
		return
	}
	RequestOf(ctx.Context()).who = who
	next(ctx)
}

// read checks the form of query and body, and gives the rest of the request its deadline.
func (a *API) read(ctx huma.Context, next func(huma.Context)) {
	op := ctx.Operation()
	s, _ := op.Metadata["spec"].(*Spec)
	r, w := humachi.Unwrap(ctx)
	var written *strictyaml.Document // nil: the body is JSON, or there is none
	query, p := checkQuery(op, r.URL)
	if p == nil {
		p = checkHeaders(op, r.Header)
	}
	if p == nil {
		u := *r.URL
		u.RawQuery = query
		r.URL = &u
		written, p = a.readBody(w, r, op, s)
	}
	if p != nil {
		a.refuse(ctx, p)
		return
	}
	within, cancel := context.WithTimeout(context.WithValue(ctx.Context(), writtenKey{}, written), s.Timeout)
	defer cancel()
	next(huma.WithContext(ctx, within))
}

func (a *API) readBody(w http.ResponseWriter, r *http.Request, op *huma.Operation, s *Spec) (written *strictyaml.Document, p *Problem) {
	if op.RequestBody == nil {
		return nil, nil
	}
	body, p := readBody(w, r, s, a.gateway.patience)
	if p != nil {
		return nil, p
	}
	if len(body) == 0 {
		r.Body = http.NoBody
		if op.RequestBody.Required {
			return nil, Field(Malformed, "body", "is missing")
		}
		return nil, nil
	}
	if s.YAML && isYAML(r.Header) {
		if written, p = fromYAML(body); p != nil {
			return nil, p
		}
		body = written.JSON
		r.Header.Set("Content-Type", "application/json") // as it is from here on
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	document, p := parseJSON(body)
	if p != nil {
		return nil, p
	}
	media := op.RequestBody.Content["application/json"]
	if media == nil || media.Schema == nil {
		return written, nil
	}
	return written, checkBody(a.huma.OpenAPI().Components.Schemas, media.Schema, document)
}

// writtenKey is where a context keeps the YAML that a body was.
type writtenKey struct{}

// fromYAML makes JSON of a body in YAML.
func fromYAML(body []byte) (*strictyaml.Document, *Problem) {
	d, err := strictyaml.Read(body)
	mistakes, ok := errors.AsType[domain.DocumentErrors](err)
	switch {
	case err == nil:
		return d, nil
	case !ok:
		return nil, Field(Malformed, "body", "is not YAML").Because(err)
	}
	p := New(Malformed, "")
	for _, m := range mistakes {
		field := "body"
		if m.Field != "document" {
			field += "." + m.Field
		}
		p.add(field, "%s", m.Problem)
	}
	return nil, p
}

// placed adds to what is wrong with a body in YAML in which line it stands.
func placed(ctx context.Context, p *Problem) *Problem {
	d, _ := ctx.Value(writtenKey{}).(*strictyaml.Document)
	if d == nil {
		return p
	}
	for i := range p.Errors {
		if field, ok := strings.CutPrefix(p.Errors[i].Field, "body."); ok {
			p.Errors[i].Message += d.Place(field)
		}
	}
	return p
}

// refuse answers with a problem before huma has read the request.
func (a *API) refuse(ctx huma.Context, p *Problem) {
	r, w := humachi.Unwrap(ctx)
	p.write(w, r)
}

// transform brings huma's own errors into the one form.
func (a *API) transform(ctx huma.Context, _ string, v any) (any, error) {
	model, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := New(Internal, "this has been written down under the request's id")
	if model.Status < http.StatusInternalServerError {
		p = New(Invalid, "")
		if p.Status = model.Status; model.Status == http.StatusBadRequest {
			p = New(Malformed, "")
		}
		for _, d := range model.Errors {
			field, message := inWords(d)
			p.add(field, "%s", message)
		}
		if p.Detail == "" {
			p.Detail = model.Detail
		}
	}
	p.Instance = instance(RequestOf(ctx.Context()).ID)
	note(ctx.Context(), p.Because(model))
	ctx.SetHeader("Cache-Control", "no-store")
	return p, nil
}

// body is an answer's JSON.
type body []byte

// written makes an answer's JSON before huma writes the status: what can't be written is a problem, and not the
// beginning of a good answer. Streams do not pass here.
func written(_ huma.Context, status string, v any) (any, error) {
	if status == strconv.Itoa(http.StatusNotModified) || status == strconv.Itoa(http.StatusNoContent) {
		return v, nil
	}
	var out bytes.Buffer
	if err := huma.DefaultJSONFormat.Marshal(&out, v); err != nil {
		panic(New(Internal, "this has been written down under the request's id").Because(fmt.Errorf("writing the answer: %w", err))) // Gateway.recovered answers; huma would say 200
	}
	return body(out.Bytes()), nil
}

// asWritten is JSON that written has made already.
var asWritten = huma.Format{
	Marshal: func(w io.Writer, v any) error {
		made, ok := v.(body)
		if !ok {
			return huma.DefaultJSONFormat.Marshal(w, v) //nolint:wrapcheck // huma tells it
		}
		_, err := w.Write(made)
		return err //nolint:wrapcheck // huma tells it
	},
	Unmarshal: huma.DefaultJSONFormat.Unmarshal,
}

// Document is the API's OpenAPI 3.1 document, as JSON or YAML. Equal routes give equal bytes.
func (a *API) Document(format string) ([]byte, error) {
	schemas := a.huma.OpenAPI().Components.Schemas.Map()
	delete(schemas, "ErrorModel") // registered by huma for errors that transform replaces
	delete(schemas, "ErrorDetail")
	if format == "yaml" {
		return a.huma.OpenAPI().YAML()
	}
	raw, err := a.huma.OpenAPI().MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("writing the OpenAPI document: %w", err)
	}
	return indented(raw)
}
