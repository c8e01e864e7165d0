package web

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"carryon/domain"
)

// A token is a JWT signed with Ed25519 (alg EdDSA). It says who acts (sub), in which role, for a device for which
// customer, and until when; nothing about a caller comes from anywhere else. Other algorithms, issuers, audiences,
// tokens without an end and unknown keys are refused alike, without saying which it was.

const (
	tokenIssuer   = "carryon"
	tokenAudience = "carryon-api"
	tokenLeeway   = 5 * time.Second // between the clocks of the processes that issue and those that check
	maxToken      = 4096            // bytes
)

// Identity is who makes a request.
type Identity struct {
	Subject  string
	Role     domain.Role
	Customer string // of a device: the only customer it may act for
}

// Actor is the identity as events record it.
func (i Identity) Actor() domain.Actor { return domain.Actor{ID: i.Subject, Role: i.Role} }

// TokenKeys are the public keys that tokens are checked with.
type TokenKeys interface {
	// TokenKey finds a key by its id.
	TokenKey(keyID string) (ed25519.PublicKey, bool)
}

type claims struct {
	jwt.RegisteredClaims
	Role     domain.Role `json:"role"`
	Customer string      `json:"customer,omitempty"`
}

// Issue signs a token for someone, good from now on for so long. A device without a subject acts as its customer,
// anyone else as its role.
func Issue(key ed25519.PrivateKey, keyID string, who Identity, now time.Time, life time.Duration) (string, error) {
	if who.Subject == "" {
		who.Subject = string(who.Role)
		if who.Customer != "" {
			who.Subject = who.Customer
		}
	}
	if err := who.check(); err != nil {
		return "", fmt.Errorf("issuing a token: %w", err)
	}
	if life <= 0 {
		return "", fmt.Errorf("issuing a token: it would be good for %s", life)
	}
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: tokenIssuer, Audience: jwt.ClaimStrings{tokenAudience}, Subject: who.Subject, ID: newUUIDv7(),
			IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(life)),
		},
		Role: who.Role, Customer: who.Customer,
	})
	token.Header["kid"] = keyID
	signed, err := token.SignedString(key)
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return signed, nil
}

func (i Identity) check() error {
	if err := domain.CheckID("sub", i.Subject); err != nil {
		return err
	}
	switch i.Role {
	case domain.RoleDevice:
		return domain.CheckID("customer", i.Customer)
	case domain.RoleService, domain.RoleSupport, domain.RoleAnalyst, domain.RoleOperator:
		if i.Customer != "" {
			return errors.New("only a device's token names a customer")
		}
		return nil
	case domain.RoleSystem: // acts by itself, never through a token
	}
	return fmt.Errorf("role %q is none that a token may carry", i.Role)
}

// Tokens checks tokens.
type Tokens struct {
	keys   TokenKeys
	parser *jwt.Parser
	clock  func() time.Time
	valid  tokenMemory
}

// NewTokens checks tokens against keys, by a clock; nil: the real one.
func NewTokens(keys TokenKeys, clock func() time.Time) *Tokens {
	if clock == nil {
		clock = time.Now
	}
	return &Tokens{keys: keys, clock: clock, parser: jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithIssuer(tokenIssuer), jwt.WithAudience(tokenAudience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(tokenLeeway), jwt.WithTimeFunc(clock), jwt.WithStrictDecoding(),
	)}
}

// Verify tells whose token it is.
func (t *Tokens) Verify(token string) (Identity, error) {
	if len(token) > maxToken {
		return Identity{}, errors.New("the token is too long")
	}
	now := t.clock()
	if who, ok := t.valid.find(token, now); ok {
		return who, nil
	}
	var c claims
	if _, err := t.parser.ParseWithClaims(token, &c, t.key); err != nil {
		return Identity{}, fmt.Errorf("checking a token: %w", err)
	}
	who := Identity{Subject: c.Subject, Role: c.Role, Customer: c.Customer}
	if err := who.check(); err != nil {
		return Identity{}, fmt.Errorf("checking a token: %w", err)
	}
	t.valid.keep(token, who, now, c.ExpiresAt.Time)
	return who, nil
}

func (t *Tokens) key(token *jwt.Token) (any, error) {
	id, _ := token.Header["kid"].(string)
	key, ok := t.keys.TokenKey(id)
	if !ok || len(key) != ed25519.PublicKeySize {
		return nil, errors.New("no such key")
	}
	return key, nil
}

// authenticate reads the request's token.
func (t *Tokens) authenticate(h http.Header) (Identity, *Problem) {
	given := h.Values("Authorization")
	if len(given) == 0 {
		return Identity{}, New(Unauthenticated, "this route needs a token: Authorization: Bearer …").header("WWW-Authenticate", `Bearer realm="carryon"`)
	}
	scheme, token, _ := strings.Cut(given[0], " ")
	if len(given) > 1 || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return Identity{}, New(Unauthenticated, "one header Authorization: Bearer … is wanted").
			header("WWW-Authenticate", `Bearer realm="carryon", error="invalid_request"`)
	}
	who, err := t.Verify(strings.TrimSpace(token))
	if err != nil {
		return Identity{}, New(Unauthenticated, "the token is not valid, or not any more").Because(err).
			header("WWW-Authenticate", `Bearer realm="carryon", error="invalid_token"`)
	}
	return who, nil
}
