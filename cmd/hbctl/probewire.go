package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"
)

// preface is what an HTTP/2 client says first: the magic words and an empty SETTINGS frame. An etcd answers with its own
// SETTINGS frame; everything else gives itself away.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// tlsAlert is how a TLS record of type alert begins.
var tlsAlert = []byte{0x15, 0x03}

func probePlain(ctx context.Context, e endpoint) finding {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", e.address)
	if err != nil {
		return dialProblem(err)
	}
	defer conn.Close()
	answer, err := firstWords(ctx, conn)
	switch {
	case isSettings(answer):
		return finding{}
	case bytes.HasPrefix(answer, tlsAlert):
		return speaksTLS(e)
	case len(answer) > 0:
		return stranger(answer)
	case timedOut(err):
		return saysNothing
	}
	// A TLS server that does not understand hangs up without a word, as a dying etcd does.
	if handshakes(ctx, e) {
		return speaksTLS(e)
	}
	return finding{reason: "it closes the connection: not an etcd endpoint, or etcd is stopping"}
}

func probeTLS(ctx context.Context, e endpoint, config *tls.Config) finding {
	config = config.Clone()
	config.NextProtos = []string{"h2"}
	if host, _, err := net.SplitHostPort(e.address); err == nil && config.ServerName == "" {
		config.ServerName = host
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", e.address)
	if err != nil {
		return dialProblem(err)
	}
	defer conn.Close()
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		if errors.As(err, new(tls.RecordHeaderError)) || (hungUp(err) && speaksPlain(ctx, e)) {
			return finding{reason: fmt.Sprintf("it does not speak TLS; use http://%s, without TLS flags", e.address)}
		}
		return tlsProblem(err)
	}
	// A server that refuses our certificate says so after the handshake.
	answer, err := firstWords(ctx, secure)
	switch {
	case isSettings(answer):
		return finding{}
	case len(answer) > 0:
		return stranger(answer)
	}
	return tlsProblem(err)
}

// saysNothing is the finding about whom nothing was heard from.
var saysNothing = finding{reason: "it takes the connection and says nothing: frozen, or not an etcd endpoint", silent: true}

// timedOut says that nobody waited any longer.
func timedOut(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || (errors.As(err, &timeout) && timeout.Timeout())
}

// firstWords says hello as an etcd client does and reads how it is answered.
func firstWords(ctx context.Context, conn net.Conn) ([]byte, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.WriteString(conn, preface); err != nil {
		return nil, err
	}
	answer := make([]byte, 64)
	n, err := io.ReadAtLeast(conn, answer, 9)
	return answer[:n], err
}

// isSettings recognises the head of an HTTP/2 SETTINGS frame.
func isSettings(b []byte) bool { return len(b) >= 9 && b[0] == 0 && b[3] == 4 }

func stranger(answer []byte) finding {
	switch {
	case bytes.HasPrefix(answer, []byte("HTTP/")):
		return finding{reason: "not an etcd endpoint: an HTTP server answers there"}
	case bytes.HasPrefix(answer, []byte("SSH-")):
		return finding{reason: "not an etcd endpoint: an SSH server answers there"}
	}
	words, _, _ := strings.Cut(string(answer), "\n")
	return finding{reason: fmt.Sprintf("not an etcd endpoint: it answers %s", quoteShort(strings.TrimSpace(words)))}
}

func speaksTLS(e endpoint) finding {
	return finding{reason: fmt.Sprintf("it speaks TLS; use https://%s, with --cacert for its CA", e.address)}
}

// hungUp says that the other side closed the connection without a word.
func hungUp(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) }

// speaksPlain says whether etcd answers there without TLS.
func speaksPlain(ctx context.Context, e endpoint) bool {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", e.address)
	if err != nil {
		return false
	}
	defer conn.Close()
	answer, _ := firstWords(ctx, conn)
	return isSettings(answer)
}

// handshakes says whether TLS is spoken there.
func handshakes(ctx context.Context, e endpoint) bool {
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}} //nolint:gosec // nothing is sent
	conn, err := dialer.DialContext(ctx, "tcp", e.address)
	if err != nil {
		// A server that asks for a certificate or names another problem speaks TLS too.
		return alertIn(err) != ""
	}
	conn.Close()
	return true
}

func dialProblem(err error) finding {
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return finding{reason: "connection refused: nothing listens there; is etcd running, and is --endpoints right?"}
	case errors.As(err, &dns):
		return finding{reason: fmt.Sprintf("host %s can't be resolved; is --endpoints right?", quoteShort(dns.Name)), silent: dns.Timeout()}
	case errors.Is(err, syscall.EMFILE):
		return finding{reason: "this process may open no more files; raise ulimit -n"}
	case timedOut(err):
		return finding{reason: "no answer to a connection attempt: the host is down, or a firewall drops it", silent: true}
	}
	return finding{reason: unwrapAll(err).Error()}
}

// alertIn gives what the server said when it ended TLS, or "".
func alertIn(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return strings.TrimPrefix(op.Err.Error(), "tls: ")
	}
	return ""
}

func tlsProblem(err error) finding {
	if timedOut(err) {
		return saysNothing
	}
	return finding{reason: tlsWords(err)}
}

// tlsWords says what went wrong with TLS, and what to do.
func tlsWords(err error) string {
	var invalidCert x509.CertificateInvalidError
	var verification *tls.CertificateVerificationError
	switch {
	case errors.As(err, &invalidCert) && invalidCert.Reason == x509.Expired:
		if whose := invalidCert.Cert; whose.IsCA {
			return fmt.Sprintf("the certificate of the authority %s, which signed the server's, %s", quoteShort(whose.Subject.CommonName), outOfDate(whose, time.Now()))
		}
		return "the server's certificate " + outOfDate(invalidCert.Cert, time.Now())
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return "the server's certificate is signed by an unknown authority; give its CA with --cacert"
	case errors.As(err, new(x509.HostnameError)):
		return "the server's certificate is for another name: " + strings.TrimPrefix(unwrapAll(err).Error(), "x509: ")
	case errors.As(err, &verification):
		return "the server's certificate is not accepted: " + strings.TrimPrefix(verification.Err.Error(), "x509: ")
	case alertIn(err) != "":
		return fmt.Sprintf("the server refuses TLS: %s; does it want another client certificate (--cert and --key)?", alertIn(err))
	}
	return "TLS failed: " + strings.TrimPrefix(unwrapAll(err).Error(), "tls: ")
}

// unwrapAll gives the innermost error, whose text does not repeat the address.
func unwrapAll(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
