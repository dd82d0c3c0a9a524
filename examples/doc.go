// Package examples is for the tests of what lies below it, which is there to be copied:
//
//   - service: a Go service that works only while it may
//   - orchestrator: a Go program that moves jobs away from workers that have died
//   - shell: a service in shell, registered by `hbctl run`
//   - python: a reader of `hbctl watch -o json`
//
// Each says at its top what it shows, how to try it, and what it leaves to the reader.
package examples
