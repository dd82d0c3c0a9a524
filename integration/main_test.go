package integration_test

import (
	"os"
	"testing"

	"github.com/hbctl/hbctl/internal/etcdtest"
)

// TestMain lets the package have the machine for itself, unless it is a process that a test started.
func TestMain(m *testing.M) {
	if folder := os.Getenv(handlerFolder); folder != "" {
		os.Exit(handle(folder))
	}
	if os.Getenv(starvedFor) == "" {
		defer etcdtest.Alone()()
	}
	os.Exit(m.Run())
}
