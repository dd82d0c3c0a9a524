// Package schedules tests the guarantees by random schedules over a real etcd in fake time: processes that register, readers
// that watch, and everything that may happen to either, to the way between them and to etcd. A schedule is data, drawn from a
// seed and shrunk when it fails; what came of it is held against what etcd had at every single revision.
//
// A seed gives the same schedule again. What runs at the same moment still runs in any order, and ids and jitter are random, so
// a failure that needs luck may need several runs.
package schedules
