//go:build real

package watermill_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/prometheus/client_golang/prometheus"

	"carryon/infra/conformance"
	"carryon/infra/watermill"
)

// broker is a broker of a test's own, which it may kill: the stack's, with ports and a folder of its own, and a second
// door with TLS and passwords.
type broker struct {
	t      *testing.T
	script string
	env    []string
	run    string
	plain  string // address without TLS
	locked string // address with TLS and SASL
	ca     string // file
}

func ownBroker(t *testing.T) *broker {
	t.Helper()
	brokers(t) // where the shared one is, the means to start another one are
	ports := freePorts(t, 3)
	b := &broker{t: t, run: t.TempDir(), plain: "127.0.0.1:" + ports[0], locked: "127.0.0.1:" + ports[2]}
	b.script = b.copyScript(filepath.Join("..", "..", "scripts", "stack", "kafka"))
	b.env = append(os.Environ(), "STACK_RUN="+b.run, "KAFKA_PORT="+ports[0], "KAFKA_CONTROLLER_PORT="+ports[1], "KAFKA_HEAP=256m")
	t.Cleanup(func() { b.do("wipe") })
	b.do("up")
	return b
}

func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return ports
}

// copyScript copies the stack's folder, and adds the second door to the broker's settings.
func (b *broker) copyScript(from string) string {
	b.t.Helper()
	to := b.t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		b.t.Fatalf("copying the stack's script: %v", err)
	}
	store := b.certificates(to)
	settings := filepath.Join(to, "server.properties")
	text, err := os.ReadFile(settings)
	if err != nil {
		b.t.Fatal(err)
	}
	replaced := strings.NewReplacer(
		"listeners=PLAINTEXT://127.0.0.1:@PORT@,", "listeners=SASL_SSL://"+b.locked+",PLAINTEXT://127.0.0.1:@PORT@,",
		"advertised.listeners=", "advertised.listeners=SASL_SSL://"+b.locked+",",
		"PLAINTEXT:PLAINTEXT", "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL",
	).Replace(string(text)) + `
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_carryon="plain secret";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location=` + store + "\n"
	if err := os.WriteFile(settings, []byte(replaced), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return filepath.Join(to, "kafka")
}

// certificates makes an authority and a certificate for the broker, and returns the file with the broker's.
func (b *broker) certificates(dir string) string {
	b.t.Helper()
	fatal := func(err error) {
		if err != nil {
			b.t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fatal(err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	fatal(err)
	b.ca = filepath.Join(dir, "ca.pem")
	fatal(os.WriteFile(b.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fatal(err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "broker"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	signed, err := x509.CreateCertificate(rand.Reader, leaf, ca, &own.PublicKey, key)
	fatal(err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(own)
	fatal(err)
	var store bytes.Buffer
	fatal(pem.Encode(&store, &pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	fatal(pem.Encode(&store, &pem.Block{Type: "CERTIFICATE", Bytes: signed}))
	path := filepath.Join(dir, "broker.pem")
	fatal(os.WriteFile(path, store.Bytes(), 0o600))
	return path
}

func (b *broker) do(what string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, b.script, what)
	c.Env = b.env
	if out, err := c.CombinedOutput(); err != nil {
		b.t.Fatalf("kafka %s: %v\n%s", what, err, out)
	}
}

// kill kills the broker as a power cut would.
func (b *broker) kill() {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(b.run, "kafka", "kafka.pid"))
	if err != nil {
		b.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		b.t.Fatal(err)
	}
	eventually(b.t, "the broker's end", func() bool {
		conn, err := net.DialTimeout("tcp", b.plain, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
}

func TestABrokerOfOnesOwn(t *testing.T) {
	b := ownBroker(t)
	t.Run("is reached with TLS and a password", func(t *testing.T) { lockedBroker(t, b) })
	t.Run("may be away, and nothing is lost and nobody held", func(t *testing.T) { brokerAway(t, b) })
}

func lockedBroker(t *testing.T, b *broker) {
	dir := t.TempDir()
	admin := administer(t, watermill.Kafka{Brokers: []string{b.plain}})
	password := func(text string) string {
		path := filepath.Join(dir, rand.Text())
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for mechanism, kind := range map[string]sarama.ScramMechanismType{"scram-sha-256": sarama.SCRAM_MECHANISM_SHA_256, "scram-sha-512": sarama.SCRAM_MECHANISM_SHA_512} {
		results, err := admin.UpsertUserScramCredentials([]sarama.AlterUserScramCredentialsUpsert{{
			Name: "carryon", Mechanism: kind, Iterations: 4096, Salt: []byte("salt of " + mechanism), Password: []byte(mechanism + " secret"),
		}})
		if err != nil || len(results) != 1 || results[0].ErrorCode != sarama.ErrNoError {
			t.Fatalf("making a user: %+v, %v", results, err)
		}
	}
	for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		t.Run(mechanism, func(t *testing.T) {
			k := watermill.Kafka{
				Brokers: []string{b.locked}, Topic: "locked-" + mechanism, Shards: 1, CAFile: b.ca,
				User: "carryon", Mechanism: mechanism, PasswordFile: password(mechanism + " secret"),
			}
			bus := startBus(t, k, prometheus.NewRegistry())
			one := newRunner("one")
			subscribed(t, k, prometheus.NewRegistry(), one)
			publish(t, bus, 1, 1)
			one.hears(t, "entry 1:1")
		})
	}
	for what, k := range map[string]watermill.Kafka{
		"a wrong password":        {CAFile: b.ca, User: "carryon", Mechanism: "scram-sha-512", PasswordFile: password("another secret")},
		"no password":             {CAFile: b.ca},
		"no TLS":                  {User: "carryon", Mechanism: "plain", PasswordFile: password("plain secret")},
		"an authority of another": {CAFile: ownAuthority(t, b), User: "carryon", Mechanism: "plain", PasswordFile: password("plain secret")},
	} {
		k.Brokers, k.Topic, k.Shards = []string{b.locked}, "locked", 1
		bus, err := watermill.NewKafkaBus(watermill.Config{}, k, prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		if err := bus.Start(t.Context()); err != nil || bus.Status() == nil {
			t.Errorf("with %s the broker is reached (%v)", what, err)
		} else {
			t.Logf("%s: %v", what, bus.Status())
		}
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	}
}

// ownAuthority is an authority that signed nothing here.
func ownAuthority(t *testing.T, b *broker) string {
	other := &broker{t: t}
	other.certificates(t.TempDir())
	if other.ca == b.ca {
		t.Fatal("it is the same one")
	}
	return other.ca
}

// brokerAway: consumers reach every tail while the broker is away, by looking at the log; writers hand over without
// waiting; and when it is back, messages come again.
func brokerAway(t *testing.T, b *broker) {
	k := watermill.Kafka{Brokers: []string{b.plain}, Topic: "away", Shards: 1}
	registry := prometheus.NewRegistry()
	bus := startBus(t, k, registry)
	heard := newRunner("heard")
	var feed *watermill.KafkaFeed
	rig := conformance.NewTransportRig(t, subject(t))
	feed = subscribed(t, k, registry, rig, heard)
	longest := time.Duration(0)
	publish := func(n int) {
		for range n {
			e := rig.Claim()
			begin := time.Now()
			if err := bus.Publish(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			longest = max(longest, time.Since(begin))
		}
	}
	publish(50)
	rig.Reaches()
	b.kill()
	publish(2000)
	begin := time.Now()
	rig.Reaches()
	t.Logf("while the broker is away, the tails are reached %s after the last entry", time.Since(begin))
	if !feed.Assigned(1) && feed.Status() == nil {
		t.Error("the feed does not know that the broker is away")
	}
	b.do("up")
	back := time.Now()
	for len(heard.told) > 0 {
		<-heard.told
	}
	eventually(t, "messages after the broker came back", func() bool {
		publish(1)
		return len(heard.told) > 0 && bus.Status() == nil
	})
	t.Logf("messages come %s after the broker came back; handing over took %s at most", time.Since(back), longest)
	eventually(t, "a place in the group", func() bool { return feed.Status() == nil })
	rig.Reaches()
	if longest > 250*time.Millisecond {
		t.Errorf("handing an entry over took %s", longest)
	}
}
