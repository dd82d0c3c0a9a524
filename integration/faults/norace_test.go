//go:build !race

package faults_test

const slow = 1
