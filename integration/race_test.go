//go:build race

package integration_test

// slow is by how much the race detector stretches what is bounded in real time.
const slow = 4
