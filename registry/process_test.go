package registry

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"
)

func TestProveGone(t *testing.T) {
	here := Process{PID: 1, Start: "1", MachineID: "m", BootID: "b", PIDNamespace: "n"}
	there := Process{PID: 7, Start: "100", MachineID: "m", BootID: "b", PIDNamespace: "n"}
	change := func(f func(*Process)) Process {
		p := there
		f(&p)
		return p
	}
	type found struct {
		start    string
		dead, ok bool
	}
	ended := found{"", true, true}
	for _, tt := range []struct {
		name        string
		here, other Process
		found       found
		want        bool
	}{
		{"it has ended", here, there, ended, true},
		{"it is a zombie", here, there, found{"100", true, true}, true},
		{"its pid is another process by now", here, there, found{"101", false, true}, true},
		{"it runs", here, there, found{"100", false, true}, false},
		{"it can't be told", here, there, found{"", false, false}, false},
		{"it can't be told, though it looks dead", here, there, found{"", true, false}, false},
		{"another machine", here, change(func(p *Process) { p.MachineID = "x" }), ended, false},
		{"another boot", here, change(func(p *Process) { p.BootID = "x" }), ended, false},
		{"another container", here, change(func(p *Process) { p.PIDNamespace = "x" }), ended, false},
		{"machine not known there", here, change(func(p *Process) { p.MachineID = "" }), ended, false},
		{"boot not known there", here, change(func(p *Process) { p.BootID = "" }), ended, false},
		{"container not known there", here, change(func(p *Process) { p.PIDNamespace = "" }), ended, false},
		{"pid not known there", here, change(func(p *Process) { p.PID = 0 }), ended, false},
		{"pid of a group", here, change(func(p *Process) { p.PID = -1 }), ended, false},
		{"start not known there", here, change(func(p *Process) { p.Start = "" }), ended, false},
		{"nothing known of either", Process{}, Process{}, ended, false},
		{"only the pid known of either", Process{PID: 1, Start: "1"}, Process{PID: 7, Start: "1"}, ended, false},
		{"machine not known on either side", Process{BootID: "b", PIDNamespace: "n"}, change(func(p *Process) { p.MachineID = "" }), ended, false},
	} {
		asked := 0
		got := tt.here.proveGone(tt.other, func(pid int) (string, bool, bool) {
			asked++
			if pid != tt.other.PID {
				t.Errorf("%s: asked about pid %d", tt.name, pid)
			}
			return tt.found.start, tt.found.dead, tt.found.ok
		})
		if got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// gone judges a process of this machine with the real look.
func gone(p Process) bool { return ThisProcess().proveGone(p, procStat) }

func TestRealProcesses(t *testing.T) {
	if runtime.GOOS != "linux" {
		if gone(ThisProcess()) {
			t.Error("this process counts as gone")
		}
		t.Skip("no other process can be judged here")
	}
	self := ThisProcess()
	if self.PID != os.Getpid() || self.Start == "" || self.MachineID == "" || self.BootID == "" || self.PIDNamespace == "" {
		t.Errorf("this process is %+v", self)
	}
	if again := ThisProcess(); again != self {
		t.Errorf("this process is %+v, and then %+v", self, again)
	}
	if gone(self) {
		t.Error("this process counts as gone")
	}

	// A stopped clock is right twice a day: the same pid with another start time was another process.
	reused := self
	start, err := strconv.ParseUint(self.Start, 10, 64)
	if err != nil {
		t.Fatalf("start time %q: %v", self.Start, err)
	}
	reused.Start = strconv.FormatUint(start-1, 10)
	if !gone(reused) {
		t.Error("the process that had our pid before us counts as alive")
	}

	none := self
	none.PID = 1<<22 + 1 // above the largest pid that there can be
	if !gone(none) {
		t.Error("a process that can't be counts as alive")
	}
}

// A killed service whose parent does not wait for it stays a zombie for as long as the parent lives.
func TestZombieIsGone(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	child := exec.Command("sleep", "3600")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	waited := false
	t.Cleanup(func() {
		if !waited {
			_ = child.Process.Kill()
			_ = child.Wait()
		}
	})
	p := ThisProcess()
	p.PID = child.Process.Pid
	var ok bool
	if p.Start, _, ok = procStat(p.PID); !ok || p.Start == "" {
		t.Fatal("the child can't be judged")
	}
	if gone(p) {
		t.Error("a child that runs counts as gone")
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); !gone(p); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a zombie counts as alive")
		}
	}
	if start, dead, ok := procStat(p.PID); start != p.Start || !dead || !ok {
		t.Errorf("the zombie: start %q, dead %v, ok %v", start, dead, ok)
	}
	_ = child.Wait() // killed, as it says
	waited = true
	if !gone(p) {
		t.Error("a child that was waited for counts as alive")
	}
}
