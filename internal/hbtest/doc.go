// Package hbtest holds what tests of registrations and watches together need: a witness that remembers what a watcher was
// told, and holders of a machine of their own.
package hbtest
