// Package webtest helps to test the ways in over HTTP: tokens, a client, and bad requests made from an OpenAPI document.
package webtest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"carryon/api/web"
	"carryon/domain"
)

// Keys is one token key.
type Keys struct{ private ed25519.PrivateKey }

// KeyID names it.
const KeyID = "token-1"

// NewKeys makes a key out of a word.
func NewKeys(word string) Keys {
	seed := sha256.Sum256([]byte(word))
	return Keys{private: ed25519.NewKeyFromSeed(seed[:])}
}

// TokenKey finds the key.
func (k Keys) TokenKey(id string) (ed25519.PublicKey, bool) {
	return k.private.Public().(ed25519.PublicKey), id == KeyID //nolint:forcetypeassert // it is one
}

// Private signs.
func (k Keys) Private() ed25519.PrivateKey { return k.private }

// Token is good for an hour.
func (k Keys) Token(t testing.TB, role domain.Role, customer string) string {
	t.Helper()
	token, err := web.Issue(k.private, KeyID, web.Identity{Role: role, Customer: customer, Subject: "some-" + string(role)}, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// Request is what is sent.
type Request struct {
	Method, Path string // with query
	Token        string
	Body         any // a string or []byte as it is, anything else as JSON; nil: none
	Header       map[string]string
}

// Answer is what comes back.
type Answer struct {
	Status int
	Header http.Header
	Raw    []byte
	Body   map[string]any // of JSON
}

// Problem is the answer as a problem, which it must be.
func (a *Answer) Problem(t testing.TB) web.Problem {
	t.Helper()
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("status %d with Content-Type %q, want a problem: %.300s", a.Status, got, a.Raw)
	}
	var p web.Problem
	if err := json.Unmarshal(a.Raw, &p); err != nil {
		t.Fatalf("the problem is not JSON: %v: %.300s", err, a.Raw)
	}
	if p.Status != a.Status || p.Type == "" || p.Title == "" || p.Code == "" {
		t.Fatalf("status %d with a problem that lacks something: %s", a.Status, a.Raw)
	}
	return p
}

// Do sends a request to a handler.
func Do(t testing.TB, h http.Handler, r Request) *Answer {
	t.Helper()
	return Serve(t, h, r.HTTP(t))
}

// Serve sends a request of net/http to a handler.
func Serve(t testing.TB, h http.Handler, r *http.Request) *Answer {
	t.Helper()
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, r)
	result := recorder.Result()
	raw, err := io.ReadAll(result.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := &Answer{Status: result.StatusCode, Header: result.Header, Raw: raw}
	if strings.Contains(result.Header.Get("Content-Type"), "json") && len(raw) > 0 {
		if err := json.Unmarshal(raw, &a.Body); err != nil {
			t.Fatalf("%s %s: status %d: not JSON: %v: %.300s", r.Method, r.URL.Path, a.Status, err, raw)
		}
	}
	return a
}

// HTTP is the request as net/http has it.
func (r Request) HTTP(t testing.TB) *http.Request {
	t.Helper()
	var body io.Reader
	switch b := r.Body.(type) {
	case nil:
	case string:
		body = strings.NewReader(b)
	case []byte:
		body = strings.NewReader(string(b))
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		body = strings.NewReader(string(raw))
	}
	req := httptest.NewRequestWithContext(t.Context(), r.Method, r.Path, body)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.Token != "" {
		req.Header.Set("Authorization", "Bearer "+r.Token)
	}
	for name, value := range r.Header {
		if value == "" {
			req.Header.Del(name)
		} else {
			req.Header.Set(name, value)
		}
	}
	return req
}
