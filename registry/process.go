package registry

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
)

// Process identifies a process beyond its pid, as far as the system tells. Empty fields are not known.
type Process struct {
	PID          int
	Start        string // start time in the kernel's ticks since boot
	MachineID    string // hashed
	BootID       string
	PIDNamespace string
}

// ThisProcess identifies the calling process.
func ThisProcess() Process {
	start, _, _ := procStat(os.Getpid())
	return Process{
		PID: os.Getpid(), Start: start,
		MachineID: machineID(), BootID: readLine("/proc/sys/kernel/random/boot_id"), PIDNamespace: pidNamespace(),
	}
}

// process gives the identity that the holder wrote.
func (h *Holder) process() Process {
	return Process{PID: h.PID, Start: h.ProcessStart, MachineID: h.MachineID, BootID: h.BootID, PIDNamespace: h.PIDNamespace}
}

// proveGone says whether the process other has certainly ended, judged from the process p: only on the same machine, in the
// same boot and pid namespace can that be seen at all, and what can't be told counts as alive.
func (p Process) proveGone(other Process, look func(pid int) (start string, dead, ok bool)) bool {
	if !same(p.MachineID, other.MachineID) || !same(p.BootID, other.BootID) || !same(p.PIDNamespace, other.PIDNamespace) {
		return false
	}
	if other.PID <= 0 || other.Start == "" {
		return false
	}
	start, dead, ok := look(other.PID)
	return ok && (dead || start != other.Start)
}

// same says that both are known and equal: two unknowns are not the same machine.
func same(a, b string) bool { return a != "" && a == b }

// machineID hashes the machine's id with a name of ours, as machine-id(5) asks of whoever shows it to others.
func machineID() string {
	id := readLine("/etc/machine-id")
	if id == "" {
		id = readLine("/var/lib/dbus/machine-id")
	}
	if id == "" {
		// Without one (a container of scratch, say) the host's name stands in: boot id and pid namespace, which must
		// match too, are what tells machines apart then.
		name, err := os.Hostname()
		if err != nil || name == "" {
			return ""
		}
		id = "hostname:" + name
	}
	mac := hmac.New(sha256.New, []byte(id))
	mac.Write([]byte("hbctl registry"))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

func pidNamespace() string {
	link, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return link
}

func readLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line)
}
