package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Whatever is wrong with the state file is told in one line that names it, before anything is asked of etcd, and what is there
// stays as it is. The endpoint leads nowhere, so a case that got through would end with 4.
func TestBadStateFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := filepath.Join(dir, "good")
	keep(t, good, 1).ends()
	state, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	inUse := filepath.Join(dir, "busy")
	user := keep(t, inUse, 1)
	defer user.ends()
	for _, test := range []struct {
		name string
		file string
		code int
		says string
		args []string
	}{
		{"empty name", "", exitUsage, "--state-file is empty; leave it out", nil},
		{"with --since", good, exitUsage, "--since and --state-file both say where to begin", []string{"--since", "1"}},
		{"directory", dir, exitUsage, "it is a directory; give the name of a file", nil},
		{"device", "/dev/null", exitUsage, "it is no regular file", nil},
		{"text", write("text", "root:x:0:0\n"), exitUsage, "it was not written by hbctl", nil},
		{"short text", write("short", "x"), exitUsage, "it was not written by hbctl", nil},
		{"bytes", write("bytes", strings.Repeat("\x00\xff", 5000)), exitUsage, "it was not written by hbctl", nil},
		{"JSON", write("json", "{}"), exitUsage, "it was not written by hbctl", nil},
		{"newer", write("newer", "hbctl-state 2 whatever"), exitUsage, "it was written by a newer hbctl", nil},
		{"snapshot without end", write("torn", string(state[:len(state)-1])), exitFailed, "its snapshot is damaged", nil},
		{"snapshot changed", write("changed", strings.Replace(string(state), "az1", "az2", 1)), exitFailed, "its snapshot is damaged", nil},
		{"snapshot missing", write("missing", "hbctl-state 1 "), exitFailed, "its snapshot is damaged", nil},
		{"another prefix", good, exitUsage, "the view is of prefix /hb/, not of /x/", []string{"--prefix", "/x/"}},
		{"another selection", good, exitUsage, `with the selection "", not with "binary=web;labels=a=b;"`, []string{"--binary", "web", "-l", "a=b"}},
		{"no such folder", filepath.Join(dir, "no", "such"), exitFailed, "no such file or directory", nil},
		{"name too long", filepath.Join(dir, strings.Repeat("x", 300)), exitFailed, "file name too long", nil},
		{"in use", inUse, exitFailed, "another process is using it", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			before, _ := os.ReadFile(test.file)
			o := invocation{env: map[string]string{"HBCTL_ENDPOINTS": "127.0.0.1:1", "HBCTL_COMMAND_TIMEOUT": "1s"}}.
				run(t, append([]string{"watch", "--state-file", test.file}, test.args...)...)
			o.wants(t, test.code, test.says)
			if !slices.Contains(test.args, "--since") && !strings.Contains(o.stderr, test.file) {
				t.Errorf("the file is not named: %s", o.stderr)
			}
			if o.stdout != "" || strings.Count(o.stderr, "\n") != 1 {
				t.Errorf("stdout %q, stderr %q", o.stdout, o.stderr)
			}
			if after, _ := os.ReadFile(test.file); string(after) != string(before) {
				t.Errorf("the file was changed to %q", after)
			}
		})
	}
}

// What the machine refuses is told with the file's name, and ends with 1.
func TestStateFileWithoutRights(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "state")
	keep(t, file, 1).ends()
	asNobody(t, func() {
		for _, path := range []string{file, filepath.Join(dir, "new")} {
			o := invocation{env: map[string]string{"HBCTL_ENDPOINTS": "127.0.0.1:1"}}.run(t, "watch", "--state-file", path)
			o.wants(t, exitFailed, "hbctl: state file "+path+": permission denied")
		}
	})
	// The file can be written, but none can be made beside it: that is told now, and not when the first snapshot is due.
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	asNobody(t, func() {
		o := invocation{env: map[string]string{"HBCTL_ENDPOINTS": "127.0.0.1:1"}}.run(t, "watch", "--state-file", file)
		o.wants(t, exitFailed, "hbctl: state file "+file+": permission denied")
	})
}

// On a disk that is full, and on one that can't be written: an end with 1 that names the file, and the state that was saved stays.
func TestStateFileOnABadDisk(t *testing.T) {
	t.Parallel()
	endpoint, client := etcd(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("unshare", "-m", "true").CombinedOutput(); err != nil {
		t.Skipf("no file system can be made here: %v %s", err, out)
	}
	prefix := "/" + t.Name() + "/"
	filler := strings.Repeat("x", 12_000)
	for _, host := range []string{"n1", "n2"} {
		if _, err := client.Put(t.Context(), prefix+"instances/web/"+host, `{"schema":1,"binary":"web","host":"`+host+`","a":"`+filler+`"}`); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ name, options, says string }{
		{"full at the start", "size=16k", "state file state: no space left on device"},
		{"read-only", "ro", "state file state: read-only file system"},
		{"full later", "size=64k", "state file state: no space left on device"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cmd := exec.Command("unshare", "-m", "sh", "-c", `mount -t tmpfs -o "$1" none "$2" && cd "$2" && exec "$3" watch --state-file state`, "sh", test.options, dir, hbctlProgram(t, self))
			cmd.Env = append(os.Environ(), "HBCTL_ENDPOINTS="+endpoint, "HBCTL_PREFIX="+prefix)
			stop := make(chan struct{})
			if test.name == "full later" {
				go func() {
					defer close(stop)
					for i := 0; t.Context().Err() == nil && i < 200; i++ {
						_, _ = client.Put(t.Context(), prefix+"instances/web/n3", `{"schema":1,"binary":"web","host":"n3","zone":"`+strings.Repeat("z", 1+i%50)+`","a":"`+filler+`"}`)
					}
				}()
			} else {
				close(stop)
			}
			out, err := cmd.CombinedOutput()
			<-stop
			if code := cmd.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(string(out), test.says) {
				t.Errorf("exit code %d (%v): %.2000s", code, err, out)
			}
		})
	}
}

// hbctlProgram gives a name by which the test's program is hbctl, see TestMain.
func hbctlProgram(t *testing.T, self string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "hbctl")
	if err := os.Symlink(self, name); err != nil {
		t.Fatal(err)
	}
	return name
}
