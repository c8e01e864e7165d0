package watermill

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"github.com/IBM/sarama"
)

// SCRAM (RFC 5802, RFC 7677) without channel binding, which is all that Kafka speaks: the password never crosses the
// network, and the broker proves that it knows it, too.
type scram struct {
	hash func() hash.Hash
	user string

	password  string
	nonce     string
	first     string // what the client said first, without its header
	signature []byte // that the server has to prove itself with
	step      int
}

var _ sarama.SCRAMClient = (*scram)(nil)

func newScram256() sarama.SCRAMClient { return &scram{hash: sha256.New} }
func newScram512() sarama.SCRAMClient { return &scram{hash: sha512.New} }

// A server that wants more rounds wants to keep us busy.
const (
	minRounds = 4096
	maxRounds = 1 << 20
)

// Begin starts a conversation.
func (s *scram) Begin(user, password, authzID string) error {
	if authzID != "" {
		return errors.New("scram: acting for somebody else is not supported")
	}
	s.user = strings.NewReplacer("=", "=3D", ",", "=2C").Replace(user)
	s.password, s.step = password, 0
	if s.nonce == "" { // a test may have set it
		s.nonce = rand.Text()
	}
	return nil
}

// Step answers what the server said.
func (s *scram) Step(challenge string) (string, error) {
	s.step++
	switch s.step {
	case 1:
		s.first = "n=" + s.user + ",r=" + s.nonce
		return "n,," + s.first, nil
	case 2:
		return s.prove(challenge)
	case 3:
		return "", s.believe(challenge)
	}
	return "", errors.New("scram: the server goes on after the end")
}

// Done tells whether the conversation is over.
func (s *scram) Done() bool { return s.step >= 3 }

func (s *scram) prove(challenge string) (string, error) {
	said := attributes(challenge)
	nonce, rounds := said["r"], said["i"]
	salt, err := base64.StdEncoding.DecodeString(said["s"])
	n, notNumber := strconv.Atoi(rounds)
	switch {
	case said["e"] != "":
		return "", fmt.Errorf("scram: the server refuses: %s", said["e"])
	case said["m"] != "" || err != nil || len(salt) == 0 || notNumber != nil:
		return "", errors.New("scram: the server's challenge can't be read")
	case !strings.HasPrefix(nonce, s.nonce) || nonce == s.nonce:
		return "", errors.New("scram: the server answers somebody else")
	case n < minRounds || n > maxRounds:
		return "", fmt.Errorf("scram: the server asks for %d rounds, %d to %d are done", n, minRounds, maxRounds)
	}
	salted, err := pbkdf2.Key(s.hash, s.password, salt, n, s.hash().Size())
	if err != nil {
		return "", fmt.Errorf("scram: %w", err)
	}
	key := s.mac(salted, "Client Key")
	stored := s.hash()
	_, _ = stored.Write(key)
	last := "c=biws,r=" + nonce
	all := s.first + "," + challenge + "," + last
	s.signature = s.mac(s.mac(salted, "Server Key"), all)
	proof := s.mac(stored.Sum(nil), all)
	for i := range proof {
		proof[i] ^= key[i]
	}
	return last + ",p=" + base64.StdEncoding.EncodeToString(proof), nil
}

func (s *scram) believe(final string) error {
	said := attributes(final)
	if e := said["e"]; e != "" {
		return fmt.Errorf("scram: the server refuses: %s", e)
	}
	signature, err := base64.StdEncoding.DecodeString(said["v"])
	if err != nil || !hmac.Equal(signature, s.signature) {
		return errors.New("scram: the server does not know the password")
	}
	return nil
}

func (s *scram) mac(key []byte, text string) []byte {
	h := hmac.New(s.hash, key)
	_, _ = h.Write([]byte(text))
	return h.Sum(nil)
}

func attributes(text string) map[string]string {
	all := map[string]string{}
	for part := range strings.SplitSeq(text, ",") {
		if name, value, ok := strings.Cut(part, "="); ok {
			all[name] = value
		}
	}
	return all
}
