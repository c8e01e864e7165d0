//go:build real

package cassandra_test

import (
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
	"path/filepath"
	"testing"
	"time"

	"carryon/infra/cassandra"
)

// authority makes a certificate authority, and a file with a server's key and certificate that it signed.
func authority(t *testing.T, dir string, ip net.IP) (caFile, serverFile string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
		return key
	}
	caKey, key := newKey(), newKey()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	must(err)
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test server"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		IPAddresses: []net.IP{ip}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	serverDER, err := x509.CreateCertificate(rand.Reader, server, ca, &key.PublicKey, caKey)
	must(err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	certificate := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	caFile, serverFile = filepath.Join(dir, "ca.pem"), filepath.Join(dir, "server.pem")
	must(os.WriteFile(caFile, certificate(caDER), 0o600))
	chain := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), certificate(serverDER)...)
	must(os.WriteFile(serverFile, append(chain, certificate(caDER)...), 0o600))
	return caFile, serverFile
}

// One node of the test's own, which speaks TLS and asks for a password.
func TestAStoreIsReachedByTLSAndAPassword(t *testing.T) {
	dir := t.TempDir()
	const net4 = "127.0.94"
	ca, serverFile := authority(t, dir, net.ParseIP(net4+".1"))
	startNodes(t, 1, net4, "9755", "CASSANDRA_TLS="+serverFile, "CASSANDRA_AUTH=password", "CASSANDRA_HEAP=512m")
	password := filepath.Join(dir, "password")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(password, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("cassandra\n")
	good := cassandra.Config{
		Hosts: []string{net4 + ".1:9042"}, Keyspace: "carryon", Replication: 1, CAFile: ca, User: "cassandra", PasswordFile: password,
	}
	// The first user is made a moment after the node has come up.
	eventually(t, func() (bool, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		s, err := cassandra.Open(ctx, good)
		if err == nil {
			err = s.Close()
		}
		return err == nil, err
	})
	s, c := open(t, good), newChain(1)
	claim(t, s, c.next("customer/a"))
	wantLog(t, s, c)
	for _, a := range s.Assumptions() { // read from each node by a connection of its own
		if a.Node != "" && !a.Holds {
			t.Errorf("%+v", a)
		}
	}

	other, _ := authority(t, t.TempDir(), net.ParseIP(net4+".1"))
	for name, spoil := range map[string]func(*cassandra.Config){
		"another authority":  func(c *cassandra.Config) { c.CAFile = other },
		"another name":       func(c *cassandra.Config) { c.ServerName = "elsewhere.example" },
		"another password":   func(c *cassandra.Config) { write("hunter2") },
		"no password at all": func(c *cassandra.Config) { c.User, c.PasswordFile = "", "" },
	} {
		cfg := good
		spoil(&cfg)
		if _, err := cassandra.Open(t.Context(), cfg); err == nil {
			t.Errorf("opened with %s", name)
		}
		write("cassandra\n")
	}
}
