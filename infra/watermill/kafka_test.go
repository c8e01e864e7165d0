package watermill

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"carryon/domain"
)

// The conversation is the example of RFC 7677, section 3.
func TestScramSpeaksAsInItsRFC(t *testing.T) {
	t.Parallel()
	s := &scram{hash: newScram256().(*scram).hash, nonce: "rOprNGfwEbeRWgbNEkqO"}
	if err := s.Begin("user", "pencil", ""); err != nil {
		t.Fatal(err)
	}
	for _, turn := range []struct{ said, want string }{
		{"", "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"},
		{
			"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
			"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		},
		{"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", ""},
	} {
		if s.Done() {
			t.Fatal("it is over too early")
		}
		got, err := s.Step(turn.said)
		if err != nil || got != turn.want {
			t.Fatalf("to %q it says %q, %v; want %q", turn.said, got, err, turn.want)
		}
	}
	if !s.Done() {
		t.Error("it is not over")
	}
}

func TestScramBelievesNoServerThatDoesNotKnowThePassword(t *testing.T) {
	t.Parallel()
	const challenge = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
	for name, said := range map[string][2]string{
		"another nonce":      {strings.Replace(challenge, "rOpr", "xOpr", 1), ""},
		"our nonce alone":    {"r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", ""},
		"too few rounds":     {strings.Replace(challenge, "4096", "1000", 1), ""},
		"too many rounds":    {strings.Replace(challenge, "4096", "99999999", 1), ""},
		"no salt":            {strings.Replace(challenge, "s=W22ZaJ0SNY7soEsUEjb6gQ==", "s=", 1), ""},
		"an extension":       {"m=x," + challenge, ""},
		"a refusal":          {challenge, "e=invalid-proof"},
		"a wrong signature":  {challenge, "v=AAAATRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
		"no signature":       {challenge, "v="},
		"nothing":            {challenge, ""},
		"a refusal at first": {"e=unknown-user", ""},
	} {
		s := &scram{hash: newScram256().(*scram).hash, nonce: "rOprNGfwEbeRWgbNEkqO"}
		if err := s.Begin("user", "pencil", ""); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Step(""); err != nil {
			t.Fatal(err)
		}
		_, err := s.Step(said[0])
		if err == nil {
			_, err = s.Step(said[1])
		}
		if err == nil {
			t.Errorf("%s: it goes on", name)
		}
	}
	s := &scram{hash: newScram512().(*scram).hash, nonce: "x"}
	if err := s.Begin("a=b,c", "pencil", ""); err != nil {
		t.Fatal(err)
	}
	if first, err := s.Step(""); err != nil || first != "n,,n=a=3Db=2Cc,r=x" {
		t.Errorf("%q, %v", first, err)
	}
}

func TestAMessageGoesToThePartitionOfItsShard(t *testing.T) {
	t.Parallel()
	e := &domain.Entry{Shard: 7, Index: 3, ID: domain.BatchID{1}}
	msg, err := newMessage(e, EntryCodec{}, 512<<10)
	if err != nil {
		t.Fatal(err)
	}
	sent, err := marshaler{}.Marshal("topic", msg)
	if err != nil || sent.Partition != 7 || sent.Topic != "topic" {
		t.Fatalf("%+v, %v", sent, err)
	}
	value, err := sent.Value.Encode()
	if err != nil {
		t.Fatal(err)
	}
	received := &sarama.ConsumerMessage{Value: value}
	for i := range sent.Headers {
		received.Headers = append(received.Headers, &sent.Headers[i])
	}
	back, err := marshaler{}.Unmarshal(received)
	if err != nil || !back.Equals(msg) {
		t.Errorf("%+v, %v; want %+v", back, err, msg)
	}
	if _, err := (marshaler{}).Marshal("topic", message.NewMessage("x", nil)); err == nil {
		t.Error("a message of no shard is sent somewhere")
	}
}

func TestReadingAKafkaMessageNeverFails(t *testing.T) {
	t.Parallel()
	for _, m := range []*sarama.ConsumerMessage{
		{},
		{Value: []byte("garbage"), Headers: []*sarama.RecordHeader{nil, {}, {Key: []byte("shard"), Value: nil}}},
		{Topic: "t", Partition: 3, Offset: 9, Headers: []*sarama.RecordHeader{{Key: []byte("_watermill_message_uuid")}}},
	} {
		msg, err := marshaler{}.Unmarshal(m)
		if err != nil || msg == nil || msg.UUID == "" {
			t.Errorf("%+v is read as %+v, %v", m, msg, err)
		}
	}
}

func TestKafkaSettingsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	good := Kafka{Brokers: []string{"127.0.0.1:9"}, Topic: "entries", Shards: 1}.withDefaults()
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Kafka){
		"no broker":              func(k *Kafka) { k.Brokers = nil },
		"no topic":               func(k *Kafka) { k.Topic = "" },
		"no shards":              func(k *Kafka) { k.Shards = 0 },
		"no password":            func(k *Kafka) { k.User = "carryon" },
		"a password file gone":   func(k *Kafka) { k.User, k.PasswordFile = "carryon", "/nowhere/password" },
		"an unknown mechanism":   func(k *Kafka) { k.User, k.PasswordFile, k.Mechanism = "carryon", "/dev/null", "trust-me" },
		"an authority gone":      func(k *Kafka) { k.CAFile = "/nowhere/ca.pem" },
		"an authority of naught": func(k *Kafka) { k.CAFile = "/dev/null" },
		"a certificate alone":    func(k *Kafka) { k.CertFile = "/dev/null" },
	} {
		k := good
		change(&k)
		if err := k.check(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	for name, half := range map[string]func(*Kafka, *lines) (*sarama.Config, error){"publisher": (*Kafka).producing, "subscriber": (*Kafka).consuming} {
		c, err := half(&good, newLines())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whoever waits for an answer is told when its connection is cut, whoever is connecting then, and whoever tries afterwards.
func TestWhoHangsUpIsLeftByNobody(t *testing.T) {
	t.Parallel()
	l, ours := newLines(), make(chan net.Conn, 2)
	dial := l.through(func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		ours <- here
		return there, nil
	})
	connected, err := dial(t.Context(), "tcp", "broker:9092")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = (<-ours).Close() }()
	late := make(chan error, 1)
	connecting := make(chan struct{})
	go func() {
		_, err := l.through(func(ctx context.Context, _, _ string) (net.Conn, error) {
			close(connecting)
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})(t.Context(), "tcp", "broker:9092")
		late <- err
	}()
	<-connecting
	l.cut()
	if _, err := connected.Read(make([]byte, 1)); err == nil {
		t.Error("an answer came over a connection that was cut")
	}
	if err := <-late; !errors.Is(err, errHungUp) {
		t.Errorf("who was connecting was told: %v", err)
	}
	if _, err := dial(t.Context(), "tcp", "broker:9092"); !errors.Is(err, errHungUp) {
		t.Errorf("who connected afterwards was told: %v", err)
	}
	l.cut() // again, which does nothing
}

func TestABrokerHasAMomentToAnswerBeforeItIsHungUpOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, takes := range []time.Duration{goodbye - time.Millisecond, time.Hour} {
			l, ended := newLines(), make(chan struct{})
			began := time.Now()
			go func() {
				defer close(ended)
				select {
				case <-l.over:
				case <-time.After(takes):
				}
			}()
			l.hangUp(ended, goodbye)
			if took := time.Since(began); took != min(takes, goodbye) {
				t.Errorf("with an answer after %v it took %v", takes, took)
			}
			if l.ended != (takes > goodbye) {
				t.Errorf("with an answer after %v: hung up %t", takes, l.ended)
			}
		}
	})
}
