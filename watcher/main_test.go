package watcher

import (
	"testing"

	"go.uber.org/goleak"
)

// Nothing that a watch started may outlive it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
