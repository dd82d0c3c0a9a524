// Package integration tests whole programs: registrations, watches and lists together, against a real etcd. There are three
// kinds of it, for three kinds of question.
//
//   - In fake time (a real server in a testing/synctest bubble): everything about time, in thousandths of it.
//   - A cluster of etcd's own test framework: members, leaders, partitions.
//   - Real processes of etcd and of hbctl: signals, freezes, starved processors.
//
// The tests are named after the guarantee or the fault that they are about. See ARCHITECTURE.md for which test keeps which
// guarantee.
package integration
