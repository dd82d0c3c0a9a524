//go:build unix && !linux

package supervise_test

func startStopped() int { return 0 }
