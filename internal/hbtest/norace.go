//go:build !race

package hbtest

// Slow is by how much the race detector stretches what is bounded in real time.
const Slow = 1
