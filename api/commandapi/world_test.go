package commandapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"carryon/api/commandapi"
	"carryon/api/web"
	"carryon/api/webtest"
	"carryon/command"
	"carryon/domain"
	"carryon/infra/keys"
	"carryon/infra/memory"
	"carryon/infra/vault"
)

// world is the command API over the real command side, over a store in memory.
type world struct {
	t     testing.TB
	store *memory.Store
	api   *web.API
	http  http.Handler
	keys  webtest.Keys
	sign  command.Signer
	app   *command.App
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, store: memory.NewStore(), keys: webtest.NewKeys("tokens")}
	connection := w.store.Connect()
	follower := command.NewReferenceFollower(connection, catalogues{}, command.FollowerConfig{Interval: 20 * time.Millisecond}, nil)
	if err := follower.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(follower.Close)
	writer, err := command.NewWriter(command.WriterConfig{Name: "test", Shards: 2}, command.WriterPorts{
		Log: connection, Histories: connection, Snapshots: connection, Folding: command.DomainFolding(), Reference: follower.Reference, Clock: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	writer.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := writer.Close(ctx); err != nil && !errors.Is(err, command.ErrClosed) {
			t.Errorf("closing the writer: %v", err)
		}
	})
	signer, err := keys.OpenSet(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	w.sign = signer
	words := vault.NewMemory()
	t.Cleanup(func() { _ = words.Close() })
	w.app, err = command.NewApp(command.Dependencies{
		Writer: writer, Books: command.NewBooks(connection, connection, command.DomainFolding(), 2), Reference: follower,
		Vault: words, Signer: signer, Impact: impact{},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.app.Close)
	w.mount(w.app)
	return w
}

// mount puts the API over whoever does the commands.
func (w *world) mount(commands commandapi.Commands) {
	w.t.Helper()
	gateway := web.NewGateway(web.GatewayOptions{Tokens: web.NewTokens(w.keys, nil)})
	api, err := commandapi.Mount(gateway, commands, commandapi.Options{Timeout: 5 * time.Second})
	if err != nil {
		w.t.Fatal(err)
	}
	w.api, w.http = api, gateway
}

func (w *world) document() *webtest.Document {
	w.t.Helper()
	raw, err := w.api.Document("json")
	if err != nil {
		w.t.Fatal(err)
	}
	return webtest.Read(w.t, raw)
}

// events counts everything that was recorded.
func (w *world) events() int {
	n := 0
	for shard := range 3 {
		for _, e := range w.store.Entries(shard) {
			n += len(e.Events)
		}
	}
	return n
}

// newest is the payload of the newest event of a type.
func (w *world) newest(kind string) string {
	payload := ""
	for shard := range 3 {
		for _, e := range w.store.Entries(shard) {
			for i := range e.Events {
				if e.Events[i].Type == kind {
					payload = string(e.Events[i].Payload)
				}
			}
		}
	}
	return payload
}

// send sends a command with a fresh key, unless the header says otherwise.
func (w *world) send(role domain.Role, customer, method, path string, body any, header ...string) *webtest.Answer {
	w.t.Helper()
	r := webtest.Request{Method: method, Path: path, Body: body, Header: map[string]string{"Idempotency-Key": newKey(time.Now())}}
	if role != "" {
		forCustomer := ""
		if role == domain.RoleDevice {
			forCustomer = customer
		}
		r.Token = w.keys.Token(w.t, role, forCustomer)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header[header[i]] = header[i+1]
	}
	return webtest.Do(w.t, w.http, r)
}

func (w *world) must(a *webtest.Answer) *webtest.Answer {
	w.t.Helper()
	if a.Status != http.StatusOK {
		w.t.Fatalf("status %d: %s", a.Status, a.Raw)
	}
	return a
}

// customer makes a customer known, on the plan standard in Germany.
func (w *world) customer(id string) {
	w.t.Helper()
	w.must(w.send(domain.RoleService, id, "PUT", "/v1/customers/"+id+"/plan", map[string]any{"plan": "standard", "country": "DE"}))
}

func acquisition(title, device string) map[string]any {
	return map[string]any{"title_id": title, "device_id": device, "device_type": "ipad"}
}

// acquire has a customer acquire a licence, and answers its id.
func (w *world) acquire(customer, title, device string) string {
	w.t.Helper()
	a := w.must(w.send(domain.RoleDevice, customer, "POST", "/v1/customers/"+customer+"/licenses", acquisition(title, device)))
	return outcome(w.t, a).License.LicenseID
}

func outcome(t testing.TB, a *webtest.Answer) commandapi.Outcome {
	t.Helper()
	var o commandapi.Outcome
	if err := json.Unmarshal(a.Raw, &o); err != nil {
		t.Fatalf("%v: %s", err, a.Raw)
	}
	return o
}

// newKey is a UUIDv7 of a moment.
func newKey(at time.Time) string {
	id := uuid.Must(uuid.NewV7())
	ms := at.UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	return id.String()
}

// catalogue holds as many films as a test wants.
type catalogue struct{}

func (catalogue) Version() string { return "catalogue-1" }

func (catalogue) Studio(name string) bool { return name == "house" }

func (catalogue) Title(id string) (domain.Title, bool) {
	if !strings.HasPrefix(id, "film-") && id != "t00042" {
		return domain.Title{}, false
	}
	return domain.Title{
		ID: id, Kind: domain.KindMovie, Name: "Film " + id, Studio: "house", Maturity: domain.MaturityTeen, Windows: []domain.Window{{}},
		RegionRule: domain.RegionCurrent, Downloadable: true,
	}, true
}

type catalogues struct{}

func (catalogues) Current() command.Catalogue { return catalogue{} }

func (catalogues) Version(version string) (command.Catalogue, error) {
	if version != (catalogue{}).Version() {
		return nil, fmt.Errorf("catalogue %s: %w", version, domain.ErrNotFound)
	}
	return catalogue{}, nil
}

// impact always finds the same.
type impact struct{}

func (impact) WithdrawalImpact(context.Context, string, []string, time.Time) (command.Touched, error) {
	return command.Touched{Customers: 3, Licenses: 4, Devices: 3, Examples: []string{"c-1"}}, nil
}

func (impact) PolicyImpact(context.Context, *domain.Policy) (command.Touched, error) {
	return command.Touched{Customers: 2, ByRule: map[string]int{"max_download_devices": 2}}, nil
}
