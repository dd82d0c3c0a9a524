package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The unit of the packages starts hbctl with flags that it has, up to where the command is looked for; also with those that
// the unit's own comment shows.
func TestUnitOfPackages(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../packaging/hbctl-run@.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := string(b)
	find := func(pattern string) string {
		t.Helper()
		m := regexp.MustCompile(`(?m)^` + pattern + `$`).FindStringSubmatch(unit)
		if m == nil {
			t.Fatalf("the unit lacks %s", pattern)
		}
		return m[1]
	}
	line := find(`ExecStart=/usr/bin/hbctl (.*)`)
	for _, flags := range []string{"", find(`#   HBCTL_RUN_FLAGS=(.*)`)} {
		args := strings.NewReplacer("%i", "web", "$HBCTL_RUN_FLAGS", flags, "$HBCTL_RUN", "/not/there --port 8080").Replace(line)
		got := hbctl(t, strings.Fields(args)...)
		if got.code != 127 || !strings.Contains(got.stderr, "/not/there") {
			t.Errorf("hbctl %s: exit %d, %q; want 127 for a command that is not there", args, got.code, got.stderr)
		}
	}
	if got := hbctl(t, strings.Fields(strings.NewReplacer("%i", "web", "$HBCTL_RUN_FLAGS", "", "$HBCTL_RUN", "").Replace(line))...); got.code != exitRun || !strings.Contains(got.stderr, "no command") {
		t.Errorf("without a command: exit %d, %q; want %d", got.code, got.stderr, exitRun)
	}
}
