//go:build linux

package compose

import (
	"strconv"
	"strings"
	"testing"
)

// The images are small, have nothing but the programs in them, and nothing in them is writable for who runs there.
func TestImages(t *testing.T) {
	e := need(t)
	for image, most := range map[string]int{"hbctl:local": 48, "hbctl-etcd:local": 80} {
		size := docker(t, "image", "inspect", "--format", "{{.Size}}", image)
		bytes, err := strconv.Atoi(size)
		if err != nil || bytes > most<<20 {
			t.Errorf("%s has %s bytes, want at most %d MiB (%v)", image, size, most, err)
		}
		const want = "65532:65532 [CMD /usr/local/bin/hbctl list --output name]"
		if got := docker(t, "image", "inspect", "--format", "{{.Config.User}} {{.Config.Healthcheck.Test}}", image); got != want {
			t.Errorf("%s has user and health check %s, want %s", image, got, want)
		}
		t.Logf("%s has %.1f MB", image, float64(bytes)/1e6)
	}
	run := func(args ...string) (string, error) {
		return call(t.Context(), nil, "docker", append([]string{"run", "--rm", "--network", "none"}, args...)...)
	}
	if out, err := run("hbctl:local", "version"); err != nil || !strings.HasPrefix(out, "hbctl ") {
		t.Errorf("version: %q, %v", out, err)
	}
	label := docker(t, "image", "inspect", "--format", `{{index .Config.Labels "org.opencontainers.image.version"}}`, "hbctl-etcd:local")
	if out, err := run("hbctl-etcd:local", "--version"); err != nil || !strings.HasPrefix(out, "etcd Version: "+label+"\n") {
		t.Errorf("etcd is labelled %s and says %q, %v", label, out, err)
	}
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"nobody writes":             {[]string{"hbctl:local", "certs", "--dir", "/certs", "--client", "a"}, "permission denied"},
		"a read-only root":          {[]string{"--read-only", "--user", "0", "hbctl:local", "certs", "--dir", "/certs", "--client", "a"}, "read-only file system"},
		"no shell":                  {[]string{"--entrypoint", "/bin/sh", "hbctl:local", "-c", "true"}, "no such file"},
		"certificates of authority": {[]string{"hbctl:local", "list", "--cacert", "/etc/ssl/certs/ca-certificates.crt", "--endpoints", "https://127.0.0.1:1", "--command-timeout", "1s"}, "etcd can't be reached"},
	} {
		if _, err := run(test.args...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
	for _, files := range [][]string{{"docker-compose.yml"}, {"docker-compose.yml", "docker-compose.tls.yml"}} {
		args := append([]string{}, e.compose[1:]...)
		for _, f := range files {
			args = append(args, "--file", root+"/"+f)
		}
		if _, err := call(t.Context(), nil, e.compose[0], append(args, "config", "--quiet")...); err != nil {
			t.Error(err)
		}
	}
}
