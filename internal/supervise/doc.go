// Package supervise runs one command as a child and answers for it: it passes signals on, tells how the child ended, and
// leaves nothing of the child's process group behind.
//
// The child gets a process group apart from ours, so that whatever it starts can be found again. On Linux it is killed by
// the kernel when this process dies, however that happens, and a Guardian kills the rest of the group. What leaves the
// group on purpose, as daemons do with setsid and shells do with their jobs, is out of reach.
//
// A child in another group is a background job for the terminal: it may write there, and it is stopped by the kernel if
// it reads from there.
package supervise
