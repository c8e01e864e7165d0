package internalapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Processes of one system share a key. A request carries a MAC over its path, its time and its body, so that who listens
// on the network learns no key and can't change a command. A request that is sent again does no harm, because its command
// id is known by then; an old one is refused all the same. An answer carries a MAC over the request's and its own body.

// HeaderMAC carries "time mac": seconds since 1970, and HMAC-SHA256 in hex.
const HeaderMAC = "Carryon-Mac"

// MinKey is the least length of a key in bytes.
const MinKey = 32

// maxSkew is how far two processes' clocks may be apart.
const maxSkew = 5 * time.Minute

// Keys are the keys that are taken; the first one signs. To change a key, let every process take the new one first.
type Keys [][]byte

// Check tells whether the keys are any good.
func (k Keys) Check() error {
	if len(k) == 0 {
		return errors.New("there is no key for what processes say to each other")
	}
	for i, key := range k {
		if len(key) < MinKey {
			return fmt.Errorf("key %d for what processes say to each other has %d bytes, at least %d are needed", i+1, len(key), MinKey)
		}
	}
	return nil
}

// Sign signs a request.
func (k Keys) Sign(r *http.Request, body []byte, now time.Time) {
	at := strconv.FormatInt(now.Unix(), 10)
	r.Header.Set(HeaderMAC, at+" "+mac(k[0], "request", r.URL.Path, at, string(body)))
}

// verify checks a request.
func (k Keys) verify(r *http.Request, body []byte, now time.Time) error {
	at, given, ok := strings.Cut(r.Header.Get(HeaderMAC), " ")
	seconds, err := strconv.ParseInt(at, 10, 64)
	if !ok || err != nil {
		return errors.New("the request is not signed")
	}
	if !k.made(given, "request", r.URL.Path, at, string(body)) {
		return errors.New("the request is signed with another key")
	}
	if skew := now.Sub(time.Unix(seconds, 0)).Abs(); skew > maxSkew {
		return fmt.Errorf("the request was signed %s ago or ahead: see to the clocks", skew)
	}
	return nil
}

// signAnswer signs an answer with the key of its request.
func (k Keys) signAnswer(h http.Header, request string, body []byte) {
	h.Set(HeaderMAC, mac(k[0], "answer", request, string(body)))
}

// VerifyAnswer checks an answer to a request that was signed.
func (k Keys) VerifyAnswer(h http.Header, request *http.Request, body []byte) error {
	if !k.made(h.Get(HeaderMAC), "answer", request.Header.Get(HeaderMAC), string(body)) {
		return errors.New("the answer is not signed, or with another key")
	}
	return nil
}

func (k Keys) made(given string, parts ...string) bool {
	ok := false
	for _, key := range k {
		if hmac.Equal([]byte(given), []byte(mac(key, parts...))) {
			ok = true
		}
	}
	return ok
}

func mac(key []byte, parts ...string) string {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%d:", len(p))
		_, _ = h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil))
}
