//go:build !linux

package registry

// procStat can't tell here, so no process is ever taken for gone.
func procStat(int) (start string, dead, ok bool) { return "", false, false }
