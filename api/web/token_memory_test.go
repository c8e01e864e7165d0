package web_test

import (
	"crypto/ed25519"
	"testing"
	"time"

	"carryon/api/web"
	"carryon/domain"
)

type oneKey struct {
	id     string
	public ed25519.PublicKey
	gone   bool
}

func (k *oneKey) TokenKey(id string) (ed25519.PublicKey, bool) {
	return k.public, id == k.id && !k.gone
}

func TestAValidTokenIsRememberedForAShortWhileOnly(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, time.May, 1, 12, 0, 0, 0, time.UTC)
	keys := &oneKey{id: "k", public: public}
	tokens := web.NewTokens(keys, func() time.Time { return now })
	who := web.Identity{Subject: "agent", Role: domain.RoleSupport}
	long, err := web.Issue(private, "k", who, now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	short, err := web.Issue(private, "k", who, now, 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{long, short, long, short} {
		if got, err := tokens.Verify(token); err != nil || got != who {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if _, err := tokens.Verify(long + "x"); err == nil {
		t.Fatal("a token with a letter more is valid")
	}
	now = now.Add(30 * time.Second)
	if _, err := tokens.Verify(short); err == nil {
		t.Error("a remembered token outlives its expiry")
	}
	keys.gone = true
	if _, err := tokens.Verify(long); err != nil {
		t.Errorf("forgotten too early: %v", err)
	}
	now = now.Add(31 * time.Second)
	if _, err := tokens.Verify(long); err == nil {
		t.Error("the key was taken away a minute ago and its token is still valid")
	}
}
