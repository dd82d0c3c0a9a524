// Package bench measures what hbctl's libraries do to an etcd, and what the plain etcd client does that is given the same work,
// side by side in one run: absolute figures change with the machine and the hour, their ratio hardly does.
//
// Each work is done several times, ours and raw in turns, so that a machine that gets slower during the run slows both down.
// A figure is the median of its runs. Connections are used before anything is timed. The sender's clock and the receiver's are the
// monotonic clock of this process.
//
//   - register: n instances from one process. Ours is registry.Register, n calls at once; timed from the first call to the
//     return of the last. Raw is a grant and a put of 300 bytes for each, 64 at once. One by one: the time to the return of one
//     Register on a registry made for it, beside one grant and put.
//   - renew: n leases at TTL 30. Ours is lease.Renewer. Raw is a loop that sends each lease down one stream every TTL/4 and reads the
//     answers. Measured is the CPU that this process takes meanwhile, and that of etcd if its process is known.
//   - list: n instances, a record and an alive key each, up to 1,000 to a lease. Ours is registry.List, until the snapshot is in
//     memory. Raw is one get of the same prefix. The program "hbctl list -o json" is measured from its start to its end, and raw
//     beside it is the same get. Last beats: registry.AskLastBeats beside as many TimeToLive, 16 at once.
//   - watch: records are put that change, 64 at once, over a connection of their own. Ours is watcher.Watch, raw is the client's Watch
//     of the same prefix. Measured is how many events a second are handled when the writers go as fast as they can, and, at half of
//     what raw handled then, the time from the sending of a put to the handling of its event. Either reader has had the event of one
//     put before the first that counts: a watch that begins at a revision, as one that follows a list must, is sent what it missed
//     in rounds a tenth of a second apart, of a thousand revisions each, until it has come to now. The history of an etcd of our own is
//     compacted before each measurement.
//   - catchup: a reader who is n events behind. Ours resumes from a view, until Synced. Raw watches from the next revision, until it
//     has seen all events.
//   - readers: up to 1,000 readers in this process, who all want everything; up to 10,000 records are put, 64 at once, and last one
//     that is known to be the last. Ours are readers of one watcher.Hub. Raw is as many watches of the plain client, on its one stream, and
//     a tenth of the events, since etcd sends each of them each event. Measured is the time from the first put until the last reader
//     has the last event, how many events all of them were told in a second of that, how many were missed or told twice, and the most that
//     the heap had meanwhile, garbage and all, more than before.
//   - detect: instances die, a lease each, and ours and raw watch the same deaths. Measured is the time from the expiry (the sending
//     of the last renewal, and the TTL) to the handling of the event.
//   - mass-death: instances that share leases, 100 each, die at once. Measured is the time from the last expiry to the last event.
//   - return: the leases of living registrations are all revoked at once, 100 instances each. Measured is the time from the first
//     revoke until all are listed again. Raw grants new leases and puts both keys of each instance, 64 at once.
//
// Everything is written under one prefix, and removed again at the end, whatever the end is.
package bench
