// Package history is what a run under faults leaves behind, and the judge of it.
//
// Everybody who takes part writes facts, a JSON line each, with the time on CLOCK_MONOTONIC, which all processes of a machine
// share: holders (registered, fenced, lost, left), watchers (each batch that they were handed), lists, the injector of
// faults, and an auditor, whose raw watch of etcd from the first revision on is the ground truth. Check reads them all and
// says whether every promise was kept.
package history
