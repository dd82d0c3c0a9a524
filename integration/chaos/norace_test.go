//go:build !race && linux

package chaos

const slow = 1
