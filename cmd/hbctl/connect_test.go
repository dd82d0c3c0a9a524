package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
)

// What can't be reached is named with the reason, ends with 4, and never takes longer than the command's timeout.
func badEndpoints(t *testing.T, s *badSection) {
	ca := newAuthority(t)
	day := 24 * time.Hour
	expired, expiredKey := ca.issue("expired", time.Now().Add(-2*day), time.Now().Add(-day))
	early, earlyKey := ca.issue("early", time.Now().Add(day), time.Now().Add(2*day))
	other, otherKey := ca.issue("other", time.Now().Add(-day), time.Now().Add(day), net.IPv4(10, 0, 0, 1))
	good, goodKey := ca.valid("good")
	secure := func(cert, key string, auth tls.ClientAuthType) string {
		return "https://" + tlsServer(t, cert, key, auth)
	}
	oldCA := authorityUntil(t, time.Now().Add(-time.Hour))
	ofOld, ofOldKey := oldCA.valid("server")
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	plainEtcd, _ := etcd(t)
	for _, test := range []struct {
		name string
		args []string
		says []string
		fast bool
	}{
		{"closed port", []string{closedPort(t)}, []string{"connection refused"}, true},
		{"blackhole", []string{blackhole(t)}, []string{"no answer to a connection attempt"}, false},
		{"frozen", []string{silent(t)}, []string{"takes the connection and says nothing"}, false},
		{"name that does not exist", []string{"no-such-host.invalid:2379"}, []string{`host "no-such-host.invalid" can't be resolved`}, false},
		{"HTTP server", []string{web.Listener.Addr().String()}, []string{"not an etcd endpoint: an HTTP server answers there"}, true},
		{
			"SSH server",
			[]string{listen(t, func(c net.Conn) { fmt.Fprint(c, "SSH-2.0-OpenSSH_10.0\r\n"); _, _ = io.Copy(io.Discard, c) })},
			[]string{"not an etcd endpoint: an SSH server answers there"},
			true,
		},
		{
			"something else",
			[]string{listen(t, func(c net.Conn) { fmt.Fprint(c, "220 mail \x1b[31mready\r\n"); _, _ = io.Copy(io.Discard, c) })},
			[]string{`not an etcd endpoint: it answers "220 mail \x1b[31mready"`},
			true,
		},
		{"hangs up", []string{listen(t, func(net.Conn) {})}, []string{"closes the connection"}, true},
		{"gRPC without etcd", []string{grpcServer(t, func(*grpc.Server) {})}, []string{"is no etcd: it speaks gRPC"}, true},
		{"two closed ports", []string{closedPort(t) + "," + closedPort(t)}, []string{"connection refused", "; 127.0.0.1:"}, true},
		{
			"TLS where plain is spoken",
			[]string{"https://" + strings.TrimPrefix(plainEtcd, "http://"), "--cacert", ca.file},
			[]string{"it does not speak TLS; use http://127.0.0.1"},
			true,
		},
		{
			"plain where TLS is spoken",
			[]string{strings.Replace(secure(good, goodKey, tls.NoClientCert), "https", "http", 1)},
			[]string{"it speaks TLS; use https://127.0.0.1"},
			true,
		},
		{
			"plain where TLS and a certificate are wanted",
			[]string{strings.Replace(secure(good, goodKey, tls.RequireAnyClientCert), "https", "http", 1)},
			[]string{"it speaks TLS; use https://127.0.0.1"},
			true,
		},
		{"unknown authority", []string{secure(good, goodKey, tls.NoClientCert)}, []string{"signed by an unknown authority; give its CA with --cacert"}, true},
		{
			"expired certificate",
			[]string{secure(expired, expiredKey, tls.NoClientCert), "--cacert", ca.file},
			[]string{"the server's certificate expired at 20", ", now is 20"},
			true,
		},
		{
			"certificate of tomorrow",
			[]string{secure(early, earlyKey, tls.NoClientCert), "--cacert", ca.file},
			[]string{"the server's certificate is not valid before 20"},
			true,
		},
		{
			"authority that is expired",
			[]string{secure(ofOld, ofOldKey, tls.NoClientCert), "--cacert", oldCA.file},
			[]string{`the certificate of the authority "test CA", which signed the server's, expired at 20`},
			true,
		},
		{
			"certificate of another host",
			[]string{secure(other, otherKey, tls.NoClientCert), "--cacert", ca.file},
			[]string{"the server's certificate is for another name", "10.0.0.1"},
			true,
		},
		{
			"wants a certificate",
			[]string{secure(good, goodKey, tls.RequireAnyClientCert), "--cacert", ca.file},
			[]string{"the server refuses TLS: ", "certificate required", "--cert and --key"},
			true,
		},
	} {
		// What is certain is told at once; else an etcd that is busy is waited for.
		timeouts, limit := map[string]string{"HBCTL_COMMAND_TIMEOUT": "50s"}, 2*patience
		if !test.fast {
			timeouts, limit = map[string]string{"HBCTL_COMMAND_TIMEOUT": "2s", "HBCTL_DIAL_TIMEOUT": "1s"}, 2*time.Second+patience
		}
		s.add(t, badCase{
			name: test.name, args: append([]string{"list", "--endpoints"}, test.args...), code: exitUnreachable, says: test.says,
			quiet: timeouts, limit: limit, also: []string{"watch"},
		})
	}
	s.add(t, badCase{
		name: "bounded by the command's timeout", args: []string{"list", "--endpoints", silent(t), "--command-timeout", "500ms"},
		code: exitUnreachable, says: []string{"no answer within 500ms"}, limit: patience,
	})
	s.add(t, badCase{name: "endpoint that is there twice", args: []string{"list", "-o", "name", "--prefix", "/nothing/", "--endpoints", plainEtcd + "," + plainEtcd}})
	for _, bad := range []struct{ name, address string }{{"one of two is down", closedPort(t)}, {"one of two is frozen", silent(t)}} {
		s.add(t, badCase{
			name: bad.name, args: []string{"list", "-o", "name", "--prefix", "/nothing/", "--endpoints", bad.address + "," + plainEtcd},
			quiet: map[string]string{"HBCTL_COMMAND_TIMEOUT": "50s"},
		})
	}
}

// Files that TLS can't be set up from are named, before anybody is asked anything.
func badTLSFiles(t *testing.T, s *badSection) {
	ca := newAuthority(t)
	cert, key := ca.valid("client")
	_, otherKey := ca.valid("other")
	expired, expiredKey := ca.issue("expired", time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour))
	early, earlyKey := ca.issue("early", time.Now().Add(24*time.Hour), time.Now().Add(48*time.Hour))
	encrypted := ca.write("encrypted.key", "ENCRYPTED PRIVATE KEY", []byte("x"))
	junk := filepath.Join(ca.dir, "junk")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, says string
		args       []string
	}{
		{"no key", "--cert and --key belong together", []string{"--cert", cert}},
		{"no certificate", "--cert and --key belong together", []string{"--key", key}},
		{"missing CA", "CA file /no/such: no such file", []string{"--cacert", "/no/such"}},
		{"missing certificate", "certificate file /no/such: no such file", []string{"--cert", "/no/such", "--key", key}},
		{"missing key", "key file /no/such: no such file", []string{"--cert", cert, "--key", "/no/such"}},
		{"directory", "CA file " + ca.dir + ": it is a directory", []string{"--cacert", ca.dir}},
		{"junk for a CA", "CA file " + junk + ": no PEM certificate in it", []string{"--cacert", junk}},
		{"junk for a certificate", "certificate file " + junk + ": no PEM certificate in it", []string{"--cert", junk, "--key", key}},
		{"junk for a key", "key file " + junk + ": no PEM private key in it", []string{"--cert", cert, "--key", junk}},
		{"encrypted key", "key file " + encrypted + ": the key is encrypted", []string{"--cert", cert, "--key", encrypted}},
		{"key of another certificate", "key file " + otherKey + " does not belong to certificate file " + cert, []string{"--cert", cert, "--key", otherKey}},
		{"not valid yet", "certificate file " + early + ": the certificate is not valid before 20", []string{"--cert", early, "--key", earlyKey}},
		{"expired", "certificate file " + expired + ": the certificate expired at 20", []string{"--cert", expired, "--key", expiredKey}},
	} {
		s.add(t, badCase{name: test.name, args: append([]string{"list", "--endpoints", "https://127.0.0.1:1"}, test.args...), code: exitUsage, says: []string{test.says}})
	}
	unreadable := badCase{name: "unreadable key", args: []string{"list", "--cert", "DIR/cert", "--key", "DIR/key"}, code: exitUsage}
	unreadable.run = func(t *testing.T) (o outcome) {
		public, secret := filepath.Join(openDir(t), "cert"), filepath.Join(openDir(t), "key")
		pem, err := os.ReadFile(cert)
		if err := errors.Join(err, os.WriteFile(public, pem, 0o644), os.WriteFile(secret, nil, 0)); err != nil {
			t.Fatal(err)
		}
		asNobody(t, func() { o = hbctl(t, "list", "--cert", public, "--key", secret) })
		o.wants(t, exitUsage, "key file "+secret+": permission denied")
		return o
	}
	s.add(t, unreadable)
}

// openDir is a folder that everybody may look into.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func badTLS(t *testing.T, s *badSection) {
	ca := newAuthority(t)
	address := secureEtcd(t, ca)
	cert, key := ca.valid("client")
	open, openKey := ca.valid("open")
	if err := os.Chmod(openKey, 0o644); err != nil {
		t.Fatal(err)
	}
	hidden := filepath.Join(t.TempDir(), "hidden") // nobody else gets there
	for from, to := range map[string]string{open: "cert", openKey: "key"} {
		text, err := os.ReadFile(from)
		if err := errors.Join(err, os.MkdirAll(hidden, 0o700), os.WriteFile(filepath.Join(hidden, to), text, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	stranger, strangerKey := newAuthority(t).valid("stranger")
	list := func(args ...string) []string {
		return append([]string{"list", "-o", "name", "--endpoints", address}, args...)
	}
	for _, test := range []struct {
		name string
		args []string
		code int
		says []string
	}{
		{"all in order", list("--cacert", ca.file, "--cert", cert, "--key", key), exitOK, nil},
		{"key that everybody may read", list("--log-format", "console", "--cacert", ca.file, "--cert", open, "--key", openKey), exitOK, []string{"can be read by everybody"}},
		{"such a key in a folder that is not for everybody", list("--log-format", "console", "--cacert", ca.file, "--cert", hidden+"/cert", "--key", hidden+"/key"), exitOK, nil},
		{"servers not checked", list("--log-format", "console", "--insecure-skip-tls-verify", "--cert", cert, "--key", key), exitOK, []string{"certificates are not checked"}},
		{"certificate of a stranger", list("--cacert", ca.file, "--cert", stranger, "--key", strangerKey), exitUnreachable, []string{"the server refuses TLS"}},
		{"no certificate", list("--cacert", ca.file), exitUnreachable, []string{"the server refuses TLS", "--cert and --key"}},
		{"without TLS", []string{"list", "--endpoints", strings.Replace(address, "https", "http", 1)}, exitUnreachable, []string{"it speaks TLS"}},
	} {
		c := badCase{name: test.name, args: test.args, code: test.code, says: test.says, quiet: map[string]string{"HBCTL_COMMAND_TIMEOUT": "50s"}}
		if test.code == exitOK {
			c.lines = len(test.says)
		}
		s.add(t, c)
	}
}

func badClusters(t *testing.T, s *badSection) {
	one, client := etcd(t)
	address := addressForEtcd(t, "http")
	embedEtcd(t, address, func(*embed.Config) {})
	both := one + "," + address.String()
	for _, command := range [][]string{{"list"}, {"watch"}, registerWith()} {
		s.add(t, badCase{
			name: "endpoints of two clusters, " + command[0], args: append(command, "--endpoints", both), code: exitUsage,
			says: []string{"are of different etcd clusters"}, quiet: map[string]string{"HBCTL_COMMAND_TIMEOUT": "50s"},
		})
	}
	s.add(t, badCase{
		name: "endpoints of two clusters, doctor", args: []string{"doctor", "--endpoints", both}, code: exitFailed,
		says: []string{"the endpoints are of different clusters"}, data: true, told: linesAbout("cluster:"),
	})
	for _, version := range []string{"3.4.30", "3.5.10", "3.6.0", "3.7.0"} {
		s.add(t, badCase{
			name: "etcd " + version, args: []string{"doctor", "--endpoints", oldEtcd(t, client, version)},
			says: []string{"warn  endpoint 127.0.0.1:", "etcd " + version, "upgrade to 3."}, data: true, told: linesAbout("endpoint 127"),
		})
	}
}

// addUsers has etcd know root, and ann, who may read what is under the prefix, and refuse everybody else.
func addUsers(client *clientv3.Client, prefix string) error {
	ctx, cancel := context.WithTimeout(client.Ctx(), patience)
	defer cancel()
	for _, do := range []func() error{
		func() error { _, err := client.UserAdd(ctx, "root", "rootpw"); return err },
		func() error { _, err := client.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := client.RoleAdd(ctx, "reader"); return err },
		func() error {
			_, err := client.RoleGrantPermission(ctx, "reader", prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermRead))
			return err
		},
		func() error { _, err := client.UserAdd(ctx, "ann", "annpw"); return err },
		func() error { _, err := client.UserGrantRole(ctx, "ann", "reader"); return err },
		func() error { _, err := client.AuthEnable(ctx); return err },
	} {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

func badUsers(t *testing.T, s *badSection) {
	server, client := startEtcd(t)
	if err := addUsers(client, "/hb/"); err != nil {
		t.Fatal(err)
	}
	as := func(args ...string) []string { return append(args, "--endpoints", server.Endpoint()) }
	byName := strings.Replace(server.Endpoint(), "127.0.0.1", "localhost", 1)
	twice := func(args ...string) []string {
		return append(args, "--endpoints", server.Endpoint()+","+byName)
	}
	_, open := etcd(t)
	slow := inFrontOf(t, open, func(s *grpc.Server) { pb.RegisterAuthServer(s, &slowAuth{takes: time.Second}) })
	for _, test := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"password that takes long to check", []string{"list", "-o", "name", "--prefix", "/nothing/", "--user", "ann:annpw", "--dial-timeout", "500ms", "--endpoints", slow}, exitOK, ""},
		{"right password", as("list", "-o", "name", "--user", "ann:annpw"), exitOK, ""},
		{"right password, several endpoints", twice("list", "-o", "name", "--user", "ann:annpw"), exitOK, ""},
		{"wrong password, several endpoints", twice("list", "--user", "ann:no"), exitDenied, `etcd refuses user "ann"`},
		{"no user, several endpoints", twice("list"), exitDenied, "etcd wants to know who asks"},
		{"wrong password", as("list", "--user", "ann:no"), exitDenied, `etcd refuses user "ann": wrong name or password`},
		{"unknown user", as("list", "--user", "bob:no"), exitDenied, `etcd refuses user "bob"`},
		{"no user", as("list"), exitDenied, "etcd wants to know who asks: give --user"},
		{"no user for a watch", as("watch"), exitDenied, "etcd wants to know who asks"},
		{"foreign prefix", as("list", "--user", "ann:annpw", "--prefix", "/other/"), exitDenied, `etcd denies user "ann" access under /other/`},
		{"foreign prefix for a watch", as("watch", "--user", "ann:annpw", "--prefix", "/other/"), exitDenied, `etcd denies user "ann"`},
		{"registering with the right to read", as("register", "--user", "ann:annpw", "--binary", "b"), exitDenied, `etcd denies user "ann"`},
		{"doctor with a wrong password", as("doctor", "--user", "ann:no"), exitDenied, `fail  client: etcd refuses user "ann": wrong name or password; check --user`},
		{"registering with a wrong password", as("register", "--user", "ann:no", "--binary", "b"), exitDenied, `etcd refuses user "ann"`},
	} {
		b := badCase{name: test.name, args: test.args, code: test.code, says: []string{test.says}, quiet: map[string]string{"HBCTL_COMMAND_TIMEOUT": "50s"}}
		b.data = test.args[0] == "doctor"
		b.told = func(o outcome) string {
			if strings.Contains(o.stderr+o.stdout, "annpw") {
				t.Errorf("the password is shown: %s%s", o.stderr, o.stdout)
			}
			return o.stderr + linesAbout("client:")(outcome{stdout: o.stdout})
		}
		s.add(t, b)
	}
}

// An operator's first question, asked of whatever may be there instead of his etcd. It is asked by a program of its own, so that
// a line of any library on the real stderr is seen.
func TestListThatLearnsNothing(t *testing.T) {
	t.Parallel()
	server, client := startEtcd(t)
	if err := addUsers(client, "/hb/"); err != nil {
		t.Fatal(err)
	}
	ca := newAuthority(t)
	cert, key := ca.valid("server")
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := hbctlProgram(t, self)
	for _, test := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"nothing listening", []string{"--endpoints", closedPort(t)}, exitUnreachable, "connection refused: nothing listens there"},
		{"a port that answers nothing", []string{"--endpoints", silent(t)}, exitUnreachable, "takes the connection and says nothing"},
		{"an HTTP server", []string{"--endpoints", web.Listener.Addr().String()}, exitUnreachable, "an HTTP server answers there"},
		{"TLS mismatch", []string{"--endpoints", tlsServer(t, cert, key, tls.NoClientCert)}, exitUnreachable, "it speaks TLS; use https://"},
		{"wrong password", []string{"--endpoints", server.Endpoint(), "--user", "ann:wrong"}, exitDenied, "wrong name or password"},
		{"no permission", []string{"--endpoints", server.Endpoint(), "--user", "ann:annpw", "--prefix", "/other/"}, exitDenied, "access under /other/"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			timeout := 50 * time.Second // far more than it takes where somebody answers
			if test.name == "a port that answers nothing" {
				timeout = 4 * time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), timeout+patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, program, append([]string{"list", "--dial-timeout", "1s", "--command-timeout", timeout.String()}, test.args...)...)
			cmd.Env = []string{"GRPC_GO_LOG_SEVERITY_LEVEL=info", "ETCD_CLIENT_DEBUG=debug", "GORACE=atexit_sleep_ms=0"}
			var stdout, stderr strings.Builder
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			_ = cmd.Run() // the code tells
			if ctx.Err() != nil {
				t.Error("it hangs")
			}
			badCase{code: test.code, says: []string{"hbctl: ", test.says}}.judge(t, outcome{code: codeOf(cmd.ProcessState), stdout: stdout.String(), stderr: stderr.String()})
		})
	}
}
