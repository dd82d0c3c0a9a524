package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
)

// maxPEMBytes holds any bundle of CA certificates.
const maxPEMBytes = 4 << 20

// tlsFiles is what TLS is set up from.
type tlsFiles struct {
	cacert     string
	cert       string
	key        string
	skipVerify bool

	openKey bool // everybody may read the key
	config  *tls.Config
}

func (f *tlsFiles) given() bool { return f.cacert != "" || f.cert != "" || f.key != "" || f.skipVerify }

// load reads the files once, so that a refusal can name the file and the reason. The config reads certificate and key
// again at every handshake: they may be renewed while a program runs.
func (f *tlsFiles) load() error {
	if (f.cert == "") != (f.key == "") {
		return usagef("--cert and --key belong together; give both or none")
	}
	if f.cacert != "" {
		if err := f.checkCA(); err != nil {
			return err
		}
	}
	if f.cert != "" {
		if err := f.checkPair(); err != nil {
			return err
		}
	}
	info := transport.TLSInfo{CertFile: f.cert, KeyFile: f.key, TrustedCAFile: f.cacert, InsecureSkipVerify: f.skipVerify}
	config, err := info.ClientConfig()
	if err != nil {
		return usagef("TLS files: %s", err)
	}
	config.MinVersion = tls.VersionTLS12
	f.config = config
	return nil
}

func (f *tlsFiles) checkCA() error {
	text, err := readSmall(f.cacert, maxPEMBytes)
	if err != nil {
		return usagef("CA file %s: %s", f.cacert, err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM([]byte(text)) {
		return usagef("CA file %s: no PEM certificate in it", f.cacert)
	}
	return nil
}

func (f *tlsFiles) checkPair() error {
	cert, err := readSmall(f.cert, maxPEMBytes)
	if err != nil {
		return usagef("certificate file %s: %s", f.cert, err)
	}
	key, err := readSmall(f.key, maxPEMBytes)
	if err != nil {
		return usagef("key file %s: %s", f.key, err)
	}
	leaf, err := parseLeaf(cert)
	if err != nil {
		return usagef("certificate file %s: %s", f.cert, err)
	}
	if err := checkKey(key); err != nil {
		return usagef("key file %s: %s", f.key, err)
	}
	if _, err := tls.X509KeyPair([]byte(cert), []byte(key)); err != nil {
		if strings.Contains(err.Error(), "does not match") {
			return usagef("key file %s does not belong to certificate file %s", f.key, f.cert)
		}
		return usagef("key file %s: %s", f.key, strings.TrimPrefix(err.Error(), "tls: "))
	}
	if why := outOfDate(leaf, time.Now()); why != "" {
		return usagef("certificate file %s: the certificate %s", f.cert, why)
	}
	f.openKey = openToAll(f.key, 0o004) && openToAll(filepath.Dir(f.key), 0o001)
	return nil
}

// openToAll says that everybody has this right on a file or folder. What is in a folder that nobody else gets into is private.
func openToAll(path string, right fs.FileMode) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Perm()&right != 0
}

// parseLeaf finds the first certificate in a PEM text.
func parseLeaf(text string) (*x509.Certificate, error) {
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
	}
	return nil, fmt.Errorf("no PEM certificate in it")
}

func checkKey(text string) error {
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if strings.Contains(block.Type, "ENCRYPTED") || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return fmt.Errorf("the key is encrypted, and there is nobody to ask for the passphrase; decrypt it with openssl pkey")
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return nil
		}
	}
	return fmt.Errorf("no PEM private key in it")
}

// outOfDate says with its dates that a certificate is expired or not valid yet.
func outOfDate(c *x509.Certificate, now time.Time) string {
	const day = time.RFC3339
	switch {
	case now.After(c.NotAfter):
		return fmt.Sprintf("expired at %s, now is %s; renew it", c.NotAfter.UTC().Format(day), now.UTC().Format(day))
	case now.Before(c.NotBefore):
		return fmt.Sprintf("is not valid before %s, now is %s; check the clock", c.NotBefore.UTC().Format(day), now.UTC().Format(day))
	}
	return ""
}
