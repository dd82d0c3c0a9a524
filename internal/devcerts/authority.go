package devcerts

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"path/filepath"
	"time"
)

const (
	authorityName  = "ca"
	authorityValid = 10 * 365 * 24 * time.Hour
	// backdated is by how much another clock may be behind ours.
	backdated = 5 * time.Minute
)

func certFile(name string) string { return name + ".crt" }
func keyFile(name string) string  { return name + ".key" }

// authority signs.
type authority struct {
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	fresh bool // not written yet
}

// open gives the authority that is in the folder, or a new one.
func open(dir string) (*authority, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, certFile(authorityName)), filepath.Join(dir, keyFile(authorityName)))
	if errors.Is(err, fs.ErrNotExist) {
		return newAuthority()
	}
	if err != nil {
		return nil, fmt.Errorf("the authority in %s: %w", dir, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("the authority in %s: it was not made here", dir)
	}
	if !time.Now().Before(pair.Leaf.NotAfter) {
		return nil, fmt.Errorf("the authority in %s: it expired at %s; begin in another folder", dir, pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return &authority{cert: pair.Leaf, key: key}, nil
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t, err := template("hbctl certs", authorityValid)
	if err != nil {
		return nil, err
	}
	t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{cert: cert, key: key, fresh: true}, err
}

// sign makes one certificate and its key. Without hosts it is a client's.
func (a *authority) sign(out *writer, c *Config, name string, hosts []string) {
	valid := c.Valid
	if valid == 0 {
		valid = DefaultValid
	}
	t, err := template(name, valid)
	if err != nil {
		out.fail(err)
		return
	}
	if t.NotAfter.After(a.cert.NotAfter) {
		t.NotAfter = a.cert.NotAfter
	}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, host)
		}
	}
	if len(hosts) > 0 {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		out.fail(err)
		return
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	if err != nil {
		out.fail(fmt.Errorf("%s: %w", name, err))
		return
	}
	out.pair(name, der, key, c.Readable)
}

func template(name string, valid time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-backdated), NotAfter: now.Add(valid),
	}, err
}
