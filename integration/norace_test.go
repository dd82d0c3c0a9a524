//go:build !race

package integration_test

const slow = 1
