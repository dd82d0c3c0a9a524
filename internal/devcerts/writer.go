package devcerts

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
)

// writer writes files until one fails.
type writer struct {
	dir   string
	files []string
	err   error
}

func (w *writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// pair writes a certificate and its key, the key first: what has a certificate is complete.
func (w *writer) pair(name string, der []byte, key *ecdsa.PrivateKey, readable bool) {
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		w.fail(err)
		return
	}
	mode := fs.FileMode(0o600)
	if readable {
		mode = 0o644
	}
	w.file(keyFile(name), "PRIVATE KEY", private, mode)
	w.file(certFile(name), "CERTIFICATE", der, 0o644)
}

func (w *writer) file(name, kind string, der []byte, mode fs.FileMode) {
	if w.err != nil {
		return
	}
	path := filepath.Join(w.dir, name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		w.fail(err)
		return
	}
	err = f.Chmod(mode) // whatever the umask: a container must be able to read what it is given
	if err == nil {
		err = pem.Encode(f, &pem.Block{Type: kind, Bytes: der})
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		w.fail(err)
		return
	}
	w.files = append(w.files, path)
}
