package packaging

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// source is a file that is packed, and where it goes.
type source struct {
	Src, Dst, Type, Packager string
	Info                     any
	FileInfo                 any `yaml:"file_info"`
}

// releaseConfig is what this test reads of .goreleaser.yaml; `goreleaser check` knows the whole of it.
type releaseConfig struct {
	Before struct{ Hooks []string }
	Builds []struct {
		Main    string
		Ldflags []string
		Rest    map[string]any `yaml:",inline"`
	}
	Archives []struct {
		Files []source
		Rest  map[string]any `yaml:",inline"`
	}
	Nfpms []struct {
		Contents []source
		Scripts  map[string]string
		Rest     map[string]any `yaml:",inline"`
	}
	Rest map[string]any `yaml:",inline"`
}

// generated is the folder that a release has what hbctl writes about itself made into.
const generated = ".bin/packaging"

// Each file that goes into a release is there, or made; and what is made goes into the archives and into the packages.
func TestReleaseHasItsFiles(t *testing.T) {
	t.Parallel()
	var config releaseConfig
	readYAML(t, ".goreleaser.yaml", &config)
	made := documents(t, config.Before.Hooks)
	if len(config.Archives) != 1 || len(config.Nfpms) != 1 || len(config.Builds) != 1 {
		t.Fatal("want one build, one kind of archive and one of package")
	}
	archives := check(t, "the archives", config.Archives[0].Files, made)
	packages := check(t, "the packages", config.Nfpms[0].Contents, made)
	for name := range made {
		page := strings.TrimSuffix(name, ".gz") // either form will do
		if !archives[page] || !packages[name] && !packages[name+".gz"] {
			t.Errorf("%s is made and not packed: in the archives %v, in the packages %v", name, archives[page], packages[name])
		}
	}
	for when, script := range config.Nfpms[0].Scripts {
		if !exists(script) {
			t.Errorf("%s: there is no %s", when, script)
		}
	}
	if !exists(config.Builds[0].Main) {
		t.Errorf("there is no program %s", config.Builds[0].Main)
	}
}

// check says which files of a list are not there, and gives which of the made ones are in it.
func check(t *testing.T, where string, files []source, made map[string]bool) map[string]bool {
	t.Helper()
	packed := make(map[string]bool)
	for _, f := range files {
		name, ok := strings.CutPrefix(f.Src, generated+"/")
		switch {
		case ok:
			packed[name] = true
			if !made[name] {
				t.Errorf("%s: nothing makes %s", where, f.Src)
			}
		case f.Type == "dir" && f.Src == "":
		case !exists(f.Src):
			t.Errorf("%s: there is no %s", where, f.Src)
		}
	}
	return packed
}

// documents does what the hook does, and looks at what comes of it.
func documents(t *testing.T, hooks []string) map[string]bool {
	t.Helper()
	if testing.Short() {
		t.Skip("builds hbctl")
	}
	const version = "v1.2.3-test"
	folder := t.TempDir()
	if len(hooks) != 1 || !strings.HasSuffix(hooks[0], " v{{ .Version }} "+generated) {
		t.Fatalf("the hooks are %q: want one, with a version and the folder %s", hooks, generated)
	}
	script, _, _ := strings.Cut(hooks[0], " ")
	if out, err := exec.CommandContext(t.Context(), filepath.Join(root, script), version, folder).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	made := make(map[string]bool)
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		made[e.Name()] = true
	}
	page := readAll(t, folder, "hbctl.1")
	if !bytes.Contains(page, []byte(version)) {
		t.Errorf("the man page does not name the version %s", version)
	}
	zipped, err := gzip.NewReader(bytes.NewReader(readAll(t, folder, "hbctl.1.gz")))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(zipped); err != nil || !bytes.Equal(text, page) {
		t.Errorf("hbctl.1.gz is not hbctl.1 (%v)", err)
	}
	if !zipped.ModTime.IsZero() || zipped.Name != "" {
		t.Errorf("hbctl.1.gz says when and of what it was made (%v, %q): the next one is another file", zipped.ModTime, zipped.Name)
	}
	return made
}

func readAll(t *testing.T, folder, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
