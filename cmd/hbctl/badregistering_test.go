package main

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// What can be wrong with a registration that is in order by itself.
func badRegistering(t *testing.T, s *badSection) {
	w := newWorld(t)
	w.record("b/h", "")
	w.alive("b/h")
	w.put("alive/b/immortal", `{"schema":1,"registration":"r"}`)
	flags := append([]string{"--log-format", "console"}, w.flags...)
	for _, test := range []struct {
		name  string
		args  []string
		code  int
		says  []string
		lines int
	}{
		{"name that is held, fail", registerWith("--on-conflict", "fail"), exitFailed, []string{"b/h: ", "holds it as incarnation"}, 1},
		{"name that is held without a lease", []string{"register", "--binary", "b", "--host", "immortal"}, exitFailed, []string{"b/immortal: ", "holds it as incarnation"}, 1},
		{"TTL above five minutes", []string{"run", "--binary", "slow", "--host", "h", "--ttl", "6m", "--", "true"}, exitOK, []string{"WRN", "a death is told that late"}, anyLines},
	} {
		s.add(t, badCase{
			name: test.name, shown: "hbctl " + strings.Join(test.args, " "), code: test.code, says: test.says, lines: test.lines,
			run: func(t *testing.T) outcome {
				return hbctl(t, slices.Concat(flags, test.args)...)
			},
			told: func(o outcome) string {
				if test.lines == anyLines {
					return linesAbout("WRN")(o)
				}
				return o.stderr
			},
		})
	}
	badTTLGranted(t, s)
	badLookalikes(t, s)
	badEnds(t, s)
}

// An etcd whose election timeout is long grants no short lease.
func badTTLGranted(t *testing.T, s *badSection) {
	address := addressForEtcd(t, "http")
	embedEtcd(t, address, func(c *embed.Config) { c.TickMs, c.ElectionMs = 500, 5000 })
	s.add(t, badCase{
		name: "TTL that etcd does not grant", shown: "hbctl run --binary b --host h --ttl 2s -- true", lines: anyLines,
		says: []string{"WRN", "no TTL as short as was asked for", "asked=2s", "granted=8s"}, told: linesAbout("WRN"),
		run: func(t *testing.T) outcome {
			return hbctl(t, "run", "--log-format", "console", "--endpoints", address.String(), "--binary", "b", "--host", "h", "--ttl", "2s", "--", "true")
		},
	})
	s.add(t, badCase{
		name: "TTL that etcd does not grant, doctor", args: []string{"doctor", "--endpoints", address.String()}, data: true,
		says: []string{"shortest TTL: 8s"}, told: linesAbout("shortest TTL"),
	})
}

// Names are bytes: what looks the same need not be.
func badLookalikes(t *testing.T, s *badSection) {
	w := newWorld(t)
	for _, name := range []string{"web/node1", "web/Node1", "web/caf\u00e9", "web/cafe\u0301", "web/node2"} {
		w.record(name, "")
	}
	s.add(t, badCase{
		name: "names that look alike, doctor", shown: "hbctl doctor", data: true,
		says: []string{`warn  names: "web/caf\u00e9" is like "web/cafe\u0301", web/node1 is like web/Node1; `}, told: linesAbout("names:"),
		run: func(t *testing.T) outcome { return hbctl(t, append([]string{"doctor"}, w.flags...)...) },
	})
	s.add(t, badCase{
		name: "name in other letters", shown: "hbctl show web/NODE1", code: exitNot, says: []string{"web/NODE1: there is no such instance"},
		run: func(t *testing.T) outcome { return hbctl(t, append([]string{"show", "web/NODE1"}, w.flags...)...) },
	})
}

// A registration that is asked to end while etcd is away tries to leave for as long as the command's timeout, and no longer.
func badEnds(t *testing.T, s *badSection) {
	for _, test := range []struct {
		name    string
		signals []syscall.Signal
		timeout string
		code    int
		says    []string
	}{
		{"SIGTERM while etcd is frozen", []syscall.Signal{syscall.SIGTERM}, "2s", exitUnreachable, []string{"etcd could not be told within 2s that b/h left"}},
		{"Ctrl-C twice while etcd is frozen", []syscall.Signal{syscall.SIGINT, syscall.SIGINT}, "10m", 130, nil},
		{"SIGTERM, then SIGINT, while etcd is frozen", []syscall.Signal{syscall.SIGTERM, syscall.SIGINT}, "10m", 130, nil},
	} {
		c := badCase{name: test.name, shown: "hbctl register --binary b --host h --command-timeout " + test.timeout, code: test.code, says: test.says, lines: anyLines}
		c.run = func(t *testing.T) outcome {
			address, freeze := freezable(t)
			r := startProgram(t, []string{"HBCTL_ENDPOINTS=" + address}, "register", "--binary", "b", "--host", "h", "--ttl", "10s", "--command-timeout", test.timeout)
			said := func() string {
				text, _ := os.ReadFile(r.err.Name())
				return string(text)
			}
			if !poll(func() bool { return strings.Contains(said(), `"registered"`) }) {
				t.Fatalf("it does not register: %s", said())
			}
			freeze()
			begin := time.Now()
			r.endWith(t, test.signals)
			return outcome{code: codeOf(r.cmd.ProcessState), stderr: said(), took: time.Since(begin)}
		}
		c.told = func(o outcome) string {
			if test.says == nil {
				return ""
			}
			return lastLine(o)
		}
		s.add(t, c)
	}
}

// endWith sends the signals, the last again and again: one that comes while the one before is not taken yet counts for nothing.
func (r *running) endWith(t *testing.T, signals []syscall.Signal) {
	t.Helper()
	_ = r.cmd.Process.Signal(signals[0])
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for deadline := time.After(2 * patience); ; {
		select {
		case <-r.done:
			return
		case <-deadline:
			t.Fatal("it does not end")
		case <-again.C:
			if len(signals) > 1 {
				_ = r.cmd.Process.Signal(signals[1]) // fails if it has ended
			}
		}
	}
}

// freezable gives an address by which the shared etcd is reached until freeze is called. Then it takes what it is sent and says
// nothing more.
func freezable(t *testing.T) (address string, freeze func()) {
	t.Helper()
	endpoint, _ := etcd(t)
	frozen, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	address = listen(t, func(client net.Conn) {
		server, err := net.Dial("tcp", strings.TrimPrefix(endpoint, "http://"))
		if err != nil {
			return
		}
		defer server.Close()
		stopped := context.AfterFunc(frozen, func() { server.Close() })
		defer stopped()
		var copying sync.WaitGroup
		copying.Go(func() { _, _ = io.Copy(client, server) })
		_, _ = io.Copy(server, client)
		copying.Wait()
		_, _ = io.Copy(io.Discard, client)
	})
	return address, stop
}

// What is said in several places: which counts, and how to see it.
func badSources(t *testing.T, s *badSection) {
	endpoint, _ := etcd(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "hbctl.yaml")
	text := "\ufeffendpoints: [" + endpoint + "]\r\nprefix: /file\r\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty.yaml")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	huge := filepath.Join(dir, "huge.yaml")
	if f, err := os.Create(huge); err != nil || f.Truncate(1<<30) != nil || f.Close() != nil {
		t.Fatal("no file of a gigabyte can be made")
	}
	quiet := map[string]string{"HBCTL_COMMAND_TIMEOUT": "50s"}
	for _, c := range []badCase{
		{
			name: "flag, environment and file disagree", args: []string{"doctor", "--prefix", "/flag/"},
			env: map[string]string{"HBCTL_CONFIG": config, "HBCTL_PREFIX": "/variable/"}, data: true,
			says: []string{
				"ok    setting prefix: /flag/, from --prefix, which goes before $HBCTL_PREFIX and " + config + ": prefix\n",
				"ok    setting endpoints: " + endpoint + ", from " + config + ": endpoints\n",
			},
			told: linesAbout("setting "),
		},
		{
			name: "password of a variable", args: []string{"doctor"}, env: map[string]string{"HBCTL_USER": "ann", "ETCDCTL_PASSWORD": "secret"}, code: exitUnreachable, data: true,
			says: []string{"ok    setting user: ann, from $HBCTL_USER\n", "ok    setting password: not shown, from $ETCDCTL_PASSWORD\n", "fail  client: etcd can't be reached at 127.0.0.1:1: connection refused"}, told: secretOf(t, "setting "),
			quiet: map[string]string{"HBCTL_ENDPOINTS": "127.0.0.1:1"},
		},
		{
			name: "password of a flag", args: []string{"doctor", "--user", "ann:secret"}, code: exitUnreachable, data: true,
			says: []string{"ok    setting user: ann, with a password, from --user\n"}, told: secretOf(t, "setting user"),
		},
		{name: "config file of Windows", args: []string{"list", "-o", "name", "--config", config}, quiet: quiet},
		{name: "config file that is empty", args: []string{"list", "-o", "name", "--config", empty, "--endpoints", endpoint, "--prefix", "/nothing/"}, quiet: quiet},
		{name: "config file of a gigabyte", args: []string{"list", "--config", huge}, code: exitUsage, says: []string{"more than the 64 KiB"}},
		{name: "variable that is empty", args: []string{"list", "-o", "name", "--prefix", "/nothing/"}, env: map[string]string{"HBCTL_ENDPOINTS": "", "ETCDCTL_ENDPOINTS": endpoint}, quiet: quiet},
	} {
		if len(c.quiet) > 0 && c.quiet["HBCTL_ENDPOINTS"] == "" && c.env == nil {
			c.quiet = map[string]string{"HBCTL_COMMAND_TIMEOUT": "50s", "HBCTL_ENDPOINTS": ""}
		}
		s.add(t, c)
	}
	badPrefixes(t, s)
}

// secretOf shows lines, once it is sure that no password is among them.
func secretOf(t *testing.T, about string) func(outcome) string {
	return func(o outcome) string {
		if strings.Contains(o.stdout+o.stderr, "secret") {
			t.Errorf("the password is shown: %s%s", o.stdout, o.stderr)
		}
		return linesAbout(about)(o)
	}
}

// A prefix without a slash at its end is one with it: /svc/a is not the beginning of /svc/ab.
func badPrefixes(t *testing.T, s *badSection) {
	endpoint, client := etcd(t)
	for _, host := range []string{"a", "ab"} {
		w := &world{t: t, client: client, prefix: "/svc/" + host + "/"}
		w.record("web/"+host, "")
	}
	s.add(t, badCase{
		name: "prefix without a slash at its end", args: []string{"list", "-o", "name", "--prefix", "/svc/a"}, env: map[string]string{"HBCTL_ENDPOINTS": endpoint},
		data: true, says: []string{"web/a"}, told: func(o outcome) string {
			if o.stdout != "web/a\n" {
				t.Errorf("listed %q", o.stdout)
			}
			return o.stdout
		},
	})
}
