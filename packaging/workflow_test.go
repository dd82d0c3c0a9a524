package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// workflow is what this test reads of a workflow.
type workflow struct {
	Permissions map[string]string
	Jobs        map[string]job
	Rest        map[string]any `yaml:",inline"`
}

type job struct {
	Needs    string
	Uses     string
	Timeout  int `yaml:"timeout-minutes"`
	Strategy struct {
		Matrix map[string][]string
		Rest   map[string]any `yaml:",inline"`
	}
	Permissions map[string]string
	Steps       []step
	Rest        map[string]any `yaml:",inline"`
}

type step struct {
	Name string
	Uses string
	Run  string
	Rest map[string]any `yaml:",inline"`
}

func workflows(t *testing.T) map[string]workflow {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, ".github/workflows/*.yml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no workflows (%v)", err)
	}
	all := make(map[string]workflow)
	for _, file := range files {
		name, _ := filepath.Rel(root, file)
		var w workflow
		readYAML(t, name, &w)
		all[name] = w
	}
	return all
}

var (
	pinned   = regexp.MustCompile(`^[a-z-]+/[a-z-]+@v[1-9][0-9]*$`)
	makeCall = regexp.MustCompile(`(?:^|[^\w-])make ([\w-]+)`)
	// expression is what the workflow fills in before a shell sees it.
	expression = regexp.MustCompile(`\$\{\{[^}]*\}\}`)
)

// What workflows name is there: no run of them is needed to see that.
func TestWorkflowsFitTheTree(t *testing.T) {
	t.Parallel()
	targets := makeTargets(t)
	for name, w := range workflows(t) {
		if len(w.Permissions) != 1 || w.Permissions["contents"] != "read" {
			t.Errorf("%s: permissions %v; a job that needs more than to read asks for it itself", name, w.Permissions)
		}
		for id, j := range w.Jobs {
			where := name + ", job " + id
			if _, ok := w.Jobs[j.Needs]; j.Needs != "" && !ok {
				t.Errorf("%s needs %s, which is no job", where, j.Needs)
			}
			if j.Uses != "" {
				if local, ok := strings.CutPrefix(j.Uses, "./"); !ok || !exists(local) {
					t.Errorf("%s uses %s, which is not there", where, j.Uses)
				}
				continue
			}
			if j.Timeout == 0 {
				t.Errorf("%s has no timeout-minutes: hanging, it would run for hours", where)
			}
			for _, s := range j.Steps {
				s.check(t, where, targets)
			}
		}
	}
}

func (s step) check(t *testing.T, where string, targets map[string]bool) {
	t.Helper()
	if s.Uses != "" && !pinned.MatchString(s.Uses) {
		t.Errorf("%s uses %s; want owner/action@vMAJOR", where, s.Uses)
	}
	if (s.Uses == "") == (s.Run == "") {
		t.Errorf("%s: a step either uses or runs something: %+v", where, s)
	}
	for _, m := range makeCall.FindAllStringSubmatch(s.Run, -1) {
		if !targets[m[1]] {
			t.Errorf("%s runs make %s, which is no target", where, m[1])
		}
	}
	if strings.Contains(s.Run, "${{") {
		t.Errorf("%s puts an expression into a script: what it holds would be run; use env", where)
	}
	if bash, err := exec.LookPath("bash"); err == nil && s.Run != "" {
		cmd := exec.CommandContext(t.Context(), bash, "-n", "-c", expression.ReplaceAllString(s.Run, "x"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", where, err, out)
		}
	}
}

// The tests run with the oldest Go that go.mod lets in, and with the newest; a release waits for them.
func TestWorkflowsTestBothEndsOfGo(t *testing.T) {
	t.Parallel()
	all := workflows(t)
	ci := all[".github/workflows/ci.yml"]
	if got, want := ci.Jobs["test"].Strategy.Matrix["go"], []string{goVersion(t), "stable"}; !slices.Equal(got, want) {
		t.Errorf("the tests run with Go %q; want %q, which is what go.mod asks for and the newest", got, want)
	}
	var ran []string
	for _, j := range ci.Jobs {
		for _, s := range j.Steps {
			for _, m := range makeCall.FindAllStringSubmatch(s.Run, -1) {
				ran = append(ran, m[1])
			}
		}
	}
	for _, target := range []string{"vet", "test", "lint", "compose", "snapshot", "packages"} {
		if !slices.Contains(ran, target) {
			t.Errorf("ci.yml does not run make %s", target)
		}
	}
	release := all[".github/workflows/release.yml"].Jobs
	if need := release["release"].Needs; need == "" || release[need].Uses != "./.github/workflows/ci.yml" {
		t.Error("release.yml does not wait for ci.yml")
	}
}

// Scripts that others start have to be programs, and to be of the shell's language.
func TestScripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.sh")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts (%v)", err)
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash")
	}
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("%s can't be run (%v)", file, err)
		}
		if out, err := exec.CommandContext(t.Context(), bash, "-n", file).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", file, err, out)
		}
	}
}
