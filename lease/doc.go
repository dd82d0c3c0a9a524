// Package lease keeps etcd leases alive and says when they may no longer be trusted.
//
// A [Renewer] renews any number of leases on one stream, every quarter of their TTL. A [Lease] answers the one question
// that its holder has: may I still act?
//
// What it promises:
//
//  1. [Lease.Valid] never says yes later than send time of the last answered renewal + granted TTL - margin, where the margin is
//     the larger of 250 ms and a tenth of the TTL. etcd counts from when it handled the renewal, which is later, so a
//     holder knows that it is fenced before anybody can see its keys vanish.
//  2. It is computed when asked, by the clock that leaves less: Go's monotonic clock stands still while the machine is
//     suspended, CLOCK_BOOTTIME does not.
//  3. Only etcd's word, "lease not found" or an answer without TTL, makes a lease gone. Every other error is
//     retried, without limit, with waits of at most 500 ms: after an outage of all members etcd gives every lease its full TTL
//     again, so a holder that goes on asking loses nothing.
//  4. A member that falls silent costs one stall of 0.5 to 1 s, then the stream is opened on another member.
//  5. A lease that etcd refuses to renew, or that may have expired, is tried on streams of its own and can't
//     hold up or end the renewal of others.
//
// What it assumes: that clocks of holder and etcd run at the same rate, to within margin / TTL (a tenth; clocks in practice
// differ by less than 0.05 %). No time of day is compared, here or across machines.
//
// What it does not promise: that a key bound to the lease is still there. An operator may delete it, and etcd itself has
// answered renewals of a lease that it was revoking. Package registry watches the keys.
//
// [LoopingCall] is the loop underneath, in the manner of OpenStack's FixedIntervalLoopingCall.
package lease
