//go:build !linux

package main

import "testing"

// asNobody calls f. Where the tests are run by root it can't take his rights away, and the test fails.
func asNobody(_ *testing.T, f func()) { f() }
