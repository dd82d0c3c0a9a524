package lease_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Nothing that a loop or a renewer started may outlive it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
