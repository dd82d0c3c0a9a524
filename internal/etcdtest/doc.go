// Package etcdtest gives tests a real etcd, in four sizes:
//
//   - [Fake] is an etcd server without sockets. Started inside a testing/synctest
//     bubble it lives in the bubble's time: a lease of an hour expires after exactly
//     an hour, and the test takes milliseconds. Clients reach it through a [Gate]
//     that a test can cut.
//   - [Cluster] runs members inside the test process, in real time, so that a test can
//     look into them, part them from each other, and stop them one by one. Its clients
//     have a [Gate] too.
//   - [Standalone] and [StandaloneCluster] run etcd as processes of their own, which
//     can be killed, frozen and thawed.
//   - [Binary] builds a command of this module, for tests of whole programs.
//
// Everything that a call of this package starts is stopped in the cleanup of the test
// it was given. Failures end that test: no function returns an error that a test could
// forget to look at.
package etcdtest
