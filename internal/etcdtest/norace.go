//go:build !race

package etcdtest

import "testing"

// oneProcessor is for the race detector alone.
func oneProcessor(testing.TB) {}
