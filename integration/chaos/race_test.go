//go:build race && linux

package chaos

// slow is by how much the race detector stretches what is bounded in real time.
const slow = 4
