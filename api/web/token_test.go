package web_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"carryon/api/web"
	"carryon/api/webtest"
	"carryon/domain"
)

var tokenKeys = webtest.NewKeys("tokens")

func TestATokenSaysWhoseItIsForAsLongAsItLasts(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now := begin
	tokens := web.NewTokens(tokenKeys, func() time.Time { return now })
	for _, who := range []web.Identity{
		{Subject: "dev-1", Role: domain.RoleDevice, Customer: "c-1"}, {Subject: "agent-7", Role: domain.RoleSupport},
		{Subject: "billing", Role: domain.RoleService}, {Subject: "ann", Role: domain.RoleAnalyst}, {Subject: "ops", Role: domain.RoleOperator},
	} {
		now = begin
		token, err := web.Issue(tokenKeys.Private(), webtest.KeyID, who, begin, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		for _, after := range []time.Duration{0, -3 * time.Second, time.Hour - time.Second, time.Hour + 3*time.Second} {
			now = begin.Add(after)
			if got, err := tokens.Verify(token); err != nil || got != who {
				t.Errorf("after %s: %+v, %v; want %+v", after, got, err, who)
			}
		}
		for _, after := range []time.Duration{-time.Minute, time.Hour + time.Minute} {
			now = begin.Add(after)
			if got, err := tokens.Verify(token); err == nil {
				t.Errorf("after %s it is still the token of %+v", after, got)
			}
		}
	}
}

func TestNoTokenIsIssuedForWhoCantHaveOne(t *testing.T) {
	t.Parallel()
	for what, who := range map[string]web.Identity{
		"a device without a customer": {Subject: "d", Role: domain.RoleDevice},
		"support with a customer":     {Subject: "s", Role: domain.RoleSupport, Customer: "c-1"},
		"the system itself":           {Subject: "s", Role: domain.RoleSystem},
		"a role that there is not":    {Subject: "s", Role: "root"},
		"a subject with a space":      {Subject: "a b", Role: domain.RoleService},
	} {
		if token, err := web.Issue(tokenKeys.Private(), webtest.KeyID, who, time.Now(), time.Hour); err == nil {
			t.Errorf("%s got %s", what, token)
		}
	}
	if _, err := web.Issue(tokenKeys.Private(), webtest.KeyID, web.Identity{Role: domain.RoleService}, time.Now(), 0); err == nil {
		t.Error("a token without a life was issued")
	}
}

func TestAForgedOrMisdirectedTokenIsRefused(t *testing.T) {
	t.Parallel()
	tokens := web.NewTokens(tokenKeys, nil)
	hour := jwt.NewNumericDate(time.Now().Add(time.Hour))
	good := func() jwt.MapClaims {
		return jwt.MapClaims{"iss": "carryon", "aud": []string{"carryon-api"}, "sub": "ops", "role": "operator", "exp": hour, "iat": jwt.NewNumericDate(time.Now())}
	}
	sign := func(method jwt.SigningMethod, key any, kid any, claims jwt.MapClaims) string {
		token := jwt.NewWithClaims(method, claims)
		token.Header["kid"] = kid
		signed, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	eddsa := func(kid any, change func(jwt.MapClaims)) string {
		claims := good()
		change(claims)
		return sign(jwt.SigningMethodEdDSA, tokenKeys.Private(), kid, claims)
	}
	nothing := func(jwt.MapClaims) {}
	if _, err := tokens.Verify(eddsa(webtest.KeyID, nothing)); err != nil {
		t.Fatalf("the good token is refused: %v", err)
	}
	public, _ := tokenKeys.TokenKey(webtest.KeyID)
	cut := eddsa(webtest.KeyID, nothing)
	for what, token := range map[string]string{
		"alg none":                         sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, webtest.KeyID, good()),
		"HMAC with the public key":         sign(jwt.SigningMethodHS256, []byte(public), webtest.KeyID, good()),
		"an unknown key":                   eddsa("token-2", nothing),
		"no key id":                        eddsa(nil, nothing),
		"a key id that is a number":        eddsa(7, nothing),
		"another issuer":                   eddsa(webtest.KeyID, func(c jwt.MapClaims) { c["iss"] = "other" }),
		"no issuer":                        eddsa(webtest.KeyID, func(c jwt.MapClaims) { delete(c, "iss") }),
		"another audience":                 eddsa(webtest.KeyID, func(c jwt.MapClaims) { c["aud"] = "other" }),
		"no audience":                      eddsa(webtest.KeyID, func(c jwt.MapClaims) { delete(c, "aud") }),
		"no end":                           eddsa(webtest.KeyID, func(c jwt.MapClaims) { delete(c, "exp") }),
		"issued in the future":             eddsa(webtest.KeyID, func(c jwt.MapClaims) { c["iat"] = jwt.NewNumericDate(time.Now().Add(time.Hour)) }),
		"no subject":                       eddsa(webtest.KeyID, func(c jwt.MapClaims) { delete(c, "sub") }),
		"no role":                          eddsa(webtest.KeyID, func(c jwt.MapClaims) { delete(c, "role") }),
		"the system's role":                eddsa(webtest.KeyID, func(c jwt.MapClaims) { c["role"] = "system" }),
		"a device without a customer":      eddsa(webtest.KeyID, func(c jwt.MapClaims) { c["role"] = "device" }),
		"an operator with a customer":      eddsa(webtest.KeyID, func(c jwt.MapClaims) { c["customer"] = "c-1" }),
		"another payload":                  withPayload(t, cut, `{"iss":"carryon","aud":["carryon-api"],"sub":"x","role":"operator","exp":99999999999}`),
		"a cut signature":                  cut[:len(cut)-4],
		"nothing":                          "",
		"dots":                             "..",
		"a megabyte":                       strings.Repeat("a", 1<<20),
		"a signature with another's bytes": cut[:strings.LastIndex(cut, ".")+1] + base64.RawURLEncoding.EncodeToString(make([]byte, ed25519.SignatureSize)),
	} {
		if who, err := tokens.Verify(token); err == nil {
			t.Errorf("%s is taken for %+v", what, who)
		}
	}
}

func withPayload(t *testing.T, token, payload string) string {
	t.Helper()
	if !json.Valid([]byte(payload)) {
		t.Fatal("not JSON")
	}
	parts := strings.Split(token, ".")
	return fmt.Sprintf("%s.%s.%s", parts[0], base64.RawURLEncoding.EncodeToString([]byte(payload)), parts[2])
}
