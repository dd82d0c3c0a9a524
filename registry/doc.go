// Package registry publishes which instances of which services are up, and reads it.
//
// A [Registry] belongs to a process. [Registry.Register] puts two keys: a record of what the service says of itself, and an
// alive key that is bound to a lease. While the alive key is there the instance is up. [List] derives every state from the
// keys at one revision.
//
// What it promises:
//
//  1. A registration is kept up, without limit: a lease that is gone, a key that was deleted, an etcd that was away for an hour.
//     It ends by [Registration.Close], [Registration.Fail], its context, or because another process holds the name
//     ([ErrReplaced]) or an operator evicted it ([ErrEvicted]).
//  2. The process may act as the instance while [Registration.Valid] says so, or until the context of [Registration.Trusted] ends.
//     Both say no before anybody can see the instance down, unless somebody deleted its key: then within a second. A process
//     that wakes from a freeze or a suspend hears it from Valid at once, and from the context, which ends by a timer, a moment later.
//  3. Every write compares: nothing that is a successor's, or an operator's, is ever touched.
//  4. A stop that reached etcd is never taken for a crash: the reason and the deletion of the key are one transaction.
//  5. Leaving is never forgotten: after a Close that met its deadline it is tried for as long as the Registry lives.
//  6. Health checks and watchdogs gate it: an instance that is unhealthy is not published.
//
// Any number of registrations share one lease for each TTL (up to 1,000 each), one stream of renewals, one watch stream
// and a constant number of goroutines, plus one for each health function. All methods may be called concurrently. Events are
// told to [Config.OnEvent] in the order in which they happened, one call at a time.
//
// No clock of one machine is compared with that of another. Times in records are for people, by the wall clock of whoever
// wrote them.
//
// What it does not promise: that a process that was cut off has stopped. What it acts upon should check the incarnation,
// [Registration.Incarnation], which only grows.
//
// The etcd client is the caller's, who sets clientv3.Config.DialOptions to lease.DialOptions(0) and names all members in
// Endpoints: see there for why. With passwords, one Registry a process costs etcd one password hash a stream, not one a renewal.
package registry
