// Package watcher tells a reader which instances are up and down, as it changes.
//
// A [Watcher] reads everything under a prefix at one revision, watches from there on, and hands over batches:
//
//	for batch, err := range w.Watch(ctx, watcher.Now()) { ... }
//
// A batch is everything that one revision of etcd did, or a word about the stream itself. Asking for the next batch
// acknowledges the last: only then the reader's position moves. From a [View], which is all that a reader was told of last
// and can be kept as JSON, nothing gets lost, whatever happened to the reader, the connection or etcd's history in between.
//
// # What is promised
//
//  1. Batches come in the order of revisions. A revision comes whole, and once; after a restart from a View, what was handed
//     over but not acknowledged comes again.
//  2. Of one instance, ups and downs alternate. Every incarnation that the reader was told is up gets exactly one down,
//     also across restarts, lost connections and compaction.
//  3. Unknown is not down: nothing is told down because etcd, or the way to it, was away.
//  4. The fold of the events up to a revision equals the list at that revision in binary, host, zone, labels, endpoints,
//     status, state and incarnation.
//  5. A clean stop is told with the cause left, failed or unhealthy, and a crash never is.
//  6. What can't be replayed is found by comparing, and marked synthetic. From a bare revision, which says nothing of what
//     the reader knew, a Reset and a Snapshot come instead. A Reset comes too when etcd's history is another one, as after
//     a restore from a backup: its revision went back, or the key that the view has as the last one written was not written
//     there.
//
// # Contact
//
// Etcd's own signs of life come every ten minutes and a frozen member sends none, so the watcher asks every second. After a
// silence of [Config].StaleAfter the reader is told Stale, once, and another stream is opened, if need be on another member,
// for ever. Live follows when one runs, and then what happened meanwhile. A break that is mended sooner is not told.
//
// # A slow reader
//
// Past 4,096 waiting events or 1 MiB of keys and values the stream is dropped, and resumed from its revision when the reader
// has taken them: history in etcd is the buffer. More than 10,000 revisions behind, differences are told instead.
//
// # Many readers
//
// A [Hub] shares one watch among any number of readers of a process: etcd sends every event once. Each reader begins with a Snapshot
// and goes at its own pace. Behind 32,768 events or 16 MiB of keys and values it is told the differences when it comes back, found
// from what it was told last of the names that changed.
//
// # Suspicion
//
// A key that is gone is evidence of a death and no proof: an operator may have deleted it, and etcd itself revokes live leases when
// a leader that was frozen wakes. Whoever acts on deaths sets [Config].Confirm. Then a key that goes unannounced is told Suspect at
// once, and after that
//
//   - Cleared, if the same process puts it again, told by its identity in the alive value. The incarnation is another one; there is
//     no Down and no Up.
//   - Down and Up, if another process takes the name, or one that does not say who it is.
//   - Down, if nobody does until the window is over.
//   - Down at once, if the end is announced after all, or an operator evicts or forces it down.
//
// The window runs only while etcd is heard, begins again when a reader resumes and when the cluster has another leader, and is longer for a crowd, by a millisecond for
// each, so that those who live have the time to come back. At its end the watcher asks a quorum how far the cluster is, and tells
// Down when the stream has told everything up to there. What a suspect does meanwhile is told as it comes; Forgotten waits for
// its Down. Ends that are announced (left, failed, unhealthy), evictions, forced ones, and replaced ones are Down at once.
//
// The batch that confirms has the position at which it is told as its revision. As long as suspects are open, the position of all
// batches stays right before the oldest of them: who resumes After it is told of it again. A View has noted them.
//
// # Causes
//
// Of a key that is gone unannounced etcd tells no reason, so the watcher asks for its lease: gone or run out is expired,
// alive is deleted. The down waits for the answer, for a second at most. Its cause is nil where the answer can't be known:
// when none came, and when the deletion was not seen as it happened but replayed later.
//
// # Clocks
//
// State comes from presence and revisions; no clock is compared. Times in rows are those of whoever wrote them. UPDATED_AT
// is what the service recorded: renewals pass by the watcher, see registry.ListOptions for asking. Batch.ObservedAt and
// Batch.Since are this process's.
//
// # What is not promised
//
// How soon: etcd deletes a dead holder's keys up to half a second after the TTL, after a change of leader up to a whole TTL
// later, and no more than a thousand leases a second. That a down is a death: an operator may delete a key, and etcd itself
// revokes live leases when a frozen leader wakes. That flips which undid themselves while nobody looked are told.
package watcher
