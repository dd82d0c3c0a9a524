// Package faults tests one fault each: what breaks, what is promised while it does, and what was measured. The table is in
// FAULTS.md. Every test prints its figures in one line that begins with the number of the fault.
//
//	go test ./integration/faults                            a few minutes
//	go test ./integration/faults -args -long                the long variants too
//	go test ./integration/faults -run Session -args -holders=1000
package faults
