package examples_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
)

const watchPy = "python/watch.py"

// python finds what runs the reader.
func python(t testing.TB) string {
	t.Helper()
	program, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3:", err)
	}
	dependsOn(t, watchPy)
	return program
}

func startReader(t *testing.T, etcd *etcdtest.Nodes, args ...string) *hbtest.Program {
	t.Helper()
	program := python(t)
	inPath(t, filepath.Dir(etcdtest.Binary(t, "./cmd/hbctl")))
	return hbtest.Start(t, etcd.Endpoints(), append([]string{program, watchPy}, args...)...)
}

// tableOf reads the last table that the reader has said, rows by name: STATE:INCARNATION.
func tableOf(p *hbtest.Program) map[string]string {
	table := map[string]string{}
	for _, line := range p.Lines() {
		rows, found := strings.CutPrefix(line, "table: ")
		if !found {
			continue
		}
		clear(table)
		for row := range strings.FieldsSeq(rows) {
			name, state, _ := strings.Cut(row, "=")
			table[name] = state
		}
	}
	return table
}

// agrees waits until the table of the reader is what a list has.
func agrees(t testing.TB, client *clientv3.Client, p *hbtest.Program, rows int) {
	t.Helper()
	want := map[string]string{}
	for name, row := range hbtest.List(t, client) {
		incarnation := "None"
		if row.Incarnation != nil {
			incarnation = fmt.Sprint(*row.Incarnation)
		}
		want[name.String()] = string(row.State) + ":" + incarnation
	}
	if len(want) != rows {
		t.Fatalf("there are %d rows, want %d: %v", len(want), rows, want)
	}
	hbtest.Eventually(t, long, fmt.Sprintf("the table is %v", want), func() bool {
		got := tableOf(p)
		for name, row := range want {
			if got[name] != row {
				return false
			}
		}
		return len(got) == len(want)
	})
}

// childOf gives the process that another one has started.
func childOf(t testing.TB, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Skip("needs /proc:", err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatalf("the children of %d: %v", pid, err)
	}
	return child
}

// The reader's table is right whatever happens to hbctl and to etcd, and nothing that lives is called dead.
func TestPython(t *testing.T) {
	python(t)
	etcd := etcdtest.Standalone(t)
	client := etcd.Client()
	services := hbtest.NewRegistry(t, client)
	register := func(i int) *registry.Registration {
		return hbtest.Register(t, services, hbtest.Node(i), serviceTTL)
	}
	leaves := register(0)
	register(1)
	dying := startHbctl(t, etcd, "register", "--binary", "vol", "--host", "node002", "--ttl", serviceTTL.String())
	hbtest.Eventually(t, long, "three are up", func() bool { return len(hbtest.List(t, client)) == 3 })

	p := startReader(t, etcd, "--command-timeout", "2s")
	agrees(t, client, p, 3)
	register(3)
	p.Await(long, 0, "up: vol/node003") // so hbctl has noted that what was there before was told

	t.Log("hbctl is killed, and meanwhile one leaves and one comes")
	if err := syscall.Kill(childOf(t, p.Cmd.Process.Pid), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_, said := p.Await(long, 0, "stale: hbctl ended with -9")
	if err := hbtest.CloseWithin(long, leaves.Close); err != nil {
		t.Fatal(err)
	}
	register(4)
	p.Await(long, said, "down: vol/node000") // told as what happened, not as what is there
	agrees(t, client, p, 5)

	t.Log("a key is deleted, and put back")
	if _, err := client.Delete(t.Context(), "/hb/alive/vol/node001"); err != nil {
		t.Fatal(err)
	}
	_, at := p.Await(long, 0, "suspect: vol/node001")
	p.Await(long, at, "cleared: vol/node001")
	agrees(t, client, p, 5)

	t.Log("etcd stops, and hbctl is killed while it is away")
	said = len(p.Lines())
	etcd.Nodes[0].Kill()
	p.Await(long, said, "stale: etcd is not heard")
	if err := syscall.Kill(childOf(t, p.Cmd.Process.Pid), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.Await(long, said, "stale: hbctl ended with 4")
	dying.Kill()
	etcd.Nodes[0].Restart()
	p.Await(long, said, "death: vol/node002")
	hbtest.Eventually(t, long, "the living are up", func() bool {
		rows := hbtest.List(t, client)
		return rows[hbtest.Node(1)].State == registry.Up && rows[hbtest.Node(4)].State == registry.Up
	})
	agrees(t, client, p, 5)

	for _, line := range p.Lines() {
		if strings.HasPrefix(line, "death: ") && !strings.HasPrefix(line, "death: vol/node002 ") {
			t.Errorf("it said %q", line)
		}
	}
	t.Log("it is asked to end")
	p.Signal(syscall.SIGTERM)
	if code := p.Ends(long); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// Killed, it leaves no hbctl behind: its output is read until nobody holds the other end.
func TestPythonKilled(t *testing.T) {
	python(t)
	etcd := etcdtest.Standalone(t)
	p := startReader(t, etcd)
	p.Await(long, 0, "table: ")
	p.Signal(syscall.SIGKILL)
	p.Ends(long)
}

// fakeHbctl plays four runs of an hbctl of another version: it has kinds and fields that are not known here, is killed while
// it writes, and begins anew with nothing there.
const fakeHbctl = `#!/bin/sh
while [ "$1" != --state-file ]; do shift; done
state=$2
row() { echo '{"kind":"'$1'","binary":"a","host":"'$2'","incarnation":'$3',"cause":null,"more":'$4',"color":"red","service":{"state":"'$5'","incarnation":'$3',"size":7}}'; }
echo run >>"$RUNS"
case $(wc -l <"$RUNS") in
1)  row present n1 1 true up
    row present n2 2 true up
    echo '{"kind":"synced","revision":5,"more":false}'
    echo saved >"$state"
    echo '{"kind":"weather","sky":["blue"],"more":true}'
    row tired n1 1 false down
    row down n1 1 true down
    printf '{"kind":"down","binary":"a","ho'
    exit 4 ;;
2)  echo '{"kind":"synced","revision":5,"more":false}'
    row forgotten n2 2 true up
    row updated n1 1 true down
    row up n3 3 false up
    : >"$state"
    exit 4 ;;
3)  echo '{"kind":"synced","revision":9,"more":false}'
    exit 4 ;;
*)  echo "wrong usage" >&2
    exit 2 ;;
esac
`

// It takes what it knows, in whole batches, and ends when hbctl can't be helped by starting it again.
func TestPythonReadsOtherVersions(t *testing.T) {
	program := python(t)
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "hbctl"), []byte(fakeHbctl), 0o755); err != nil {
		t.Fatal(err)
	}
	inPath(t, folder)
	t.Setenv("RUNS", filepath.Join(folder, "runs"))
	p := hbtest.Start(t, nil, program, watchPy)
	if code := p.Ends(long); code != 2 {
		t.Errorf("exit code %d, want that of hbctl, 2", code)
	}
	var tables []string
	for _, line := range p.Lines() {
		if table, found := strings.CutPrefix(line, "table:"); found {
			tables = append(tables, strings.TrimSpace(table))
		}
	}
	want := []string{
		"a/n1=up:1 a/n2=up:2", // as it begins
		"a/n1=up:1 a/n2=up:2", // what is not known changes nothing
		"a/n1=up:1 a/n2=up:2", // half a batch is none, and what goes on begins with what was
		"a/n1=up:1 a/n3=up:3", // a down that was never told whole is none
		"",                    // begun anew, with nothing there
	}
	if strings.Join(tables, "\n") != strings.Join(want, "\n") {
		t.Errorf("the tables were\n%s\nwant\n%s", strings.Join(tables, "\n"), strings.Join(want, "\n"))
	}
}
