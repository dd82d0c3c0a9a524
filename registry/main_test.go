package registry_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Nothing that a registry started may outlive its Close.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
