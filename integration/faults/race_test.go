//go:build race

package faults_test

// slow is by how much the race detector stretches what is bounded in real time.
const slow = 4
