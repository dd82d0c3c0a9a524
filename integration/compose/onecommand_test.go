//go:build linux

package compose

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// One command brings everything up, and hbctl on this machine lists it without being told anything but where it is. A death is
// listed, and one command takes everything down again, see remove.
func TestOneCommand(t *testing.T) {
	p := newProject(t, "plain")
	p.upAndDown()
	p.confined()
}

// The same with TLS, by certificates that hbctl makes. Who has none is refused by members and for members.
func TestOneCommandWithTLS(t *testing.T) {
	p := newProject(t, "tls", "docker-compose.tls.yml")
	dir := filepath.Join(t.TempDir(), "certs")
	line := []string{"certs", "--readable", "--dir", dir, "--client", "hbctl"}
	for _, m := range members {
		line = append(line, "--server", m)
	}
	if _, err := p.run(t.Context(), line...); err != nil {
		t.Fatal(err)
	}
	p.env = append(p.env, "HBCTL_CERTS="+dir)
	file := func(name string) string { return filepath.Join(dir, name) }
	p.flags = []string{"--cacert", file("ca.crt"), "--cert", file("hbctl.crt"), "--key", file("hbctl.key")}
	p.upAndDown()
	cert, err := tls.LoadX509KeyPair(file("hbctl.crt"), file("hbctl.key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, port := range []string{"2379", "2380"} {
		address := net.JoinHostPort(docker(t, "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", p.id["etcd0"]), port)
		if answer, err := ask(address); err == nil {
			t.Errorf("port %s answers without a certificate: %s", port, answer)
		}
		if answer, err := ask(address, cert); err != nil || !strings.HasPrefix(answer, "HTTP/") {
			t.Errorf("port %s does not answer with a certificate: %s, %v", port, answer, err)
		}
	}
}

// ask has etcd say its version, over TLS.
func ask(address string, certs ...tls.Certificate) (string, error) {
	conn, err := tls.Dial("tcp", address, &tls.Config{Certificates: certs, InsecureSkipVerify: true})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(soon)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(conn, "GET /version HTTP/1.0\r\n\r\n"); err != nil {
		return "", err
	}
	return bufio.NewReader(conn).ReadString('\n')
}

// upAndDown brings the project up, kills a service, and sees both listed.
func (p *project) upAndDown() {
	p.t.Helper()
	begin := time.Now()
	p.up()
	up := time.Since(begin)
	p.awaitStates(soon, "cinder-scheduler/node1 up", "cinder-volume/node2 up", "cinder-volume/node3 up")
	listed := time.Since(begin)

	killed := time.Now()
	docker(p.t, "kill", p.id["volume-1"])
	p.awaitStates(soon, "cinder-scheduler/node1 up", "cinder-volume/node2 down", "cinder-volume/node3 up")
	down := time.Since(killed)
	healthy := append([]string{"watcher", "scheduler", "volume-2"}, members...)
	for _, service := range healthy {
		await(p.t, soon, service+" is healthy", func(context.Context) bool {
			return docker(p.t, "inspect", "--format", "{{.State.Health.Status}}", p.id[service]) == "healthy"
		})
	}
	ms := 10 * time.Millisecond
	p.t.Logf("up --detach took %v, all were listed up after %v, all containers were healthy after %v; one was listed down %v after docker kill (TTL %v)",
		up.Round(ms), listed.Round(ms), time.Since(begin).Round(ms), down.Round(ms), ttl)
}

// confined sees that nothing in the project may do more than it needs.
func (p *project) confined() {
	p.t.Helper()
	for service, id := range p.id {
		const want = "65532:65532 true [ALL] [no-new-privileges:true] false"
		got := docker(p.t, "inspect", "--format", "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{.HostConfig.Privileged}}", id)
		if got != want {
			p.t.Errorf("%s runs as %s, want %s", service, got, want)
		}
		status, err := os.ReadFile("/proc/" + docker(p.t, "inspect", "--format", "{{.State.Pid}}", id) + "/status")
		if err != nil {
			continue // the one that was killed
		}
		text := strings.ReplaceAll(string(status), "\t", " ")
		for _, line := range []string{"Uid: 65532 65532 65532 65532", "CapEff: 0000000000000000", "CapBnd: 0000000000000000", "NoNewPrivs: 1"} {
			if !strings.Contains(text, line+"\n") {
				p.t.Errorf("the process of %s lacks %q", service, line)
			}
		}
		ports := docker(p.t, "inspect", "--format", "{{range $port, $to := .HostConfig.PortBindings}}{{range $to}}{{.HostIp}} {{end}}{{end}}", id)
		if strings.TrimSpace(ports) != "" && strings.TrimSpace(ports) != "127.0.0.1" {
			p.t.Errorf("%s publishes ports at %s", service, ports)
		}
	}
	if p.t.Failed() {
		return
	}
	p.t.Logf("all %d containers run as 65532:65532, with a read-only root, without capabilities and new privileges; ports are at 127.0.0.1 alone", len(p.id))
}
