// Package integration tests whole programs: registrations, watches and lists together, against a real etcd. There are four
// kinds of it, for four kinds of question.
//
//   - In fake time (a real server in a testing/synctest bubble): everything about time, in thousandths of it.
//   - A cluster of etcd's own test framework: members, leaders, partitions.
//   - Real processes of etcd and of hbctl: signals, freezes, starved processors.
//   - Real terminals, by tmux, with bash, zsh and fish: what somebody sees who types. The screens of docs/top.md come from here;
//     go test ./integration -run TestTerminalTop -args -docs writes them anew.
//
// The tests are named after the guarantee or the fault that they are about. See ARCHITECTURE.md for which test keeps which
// guarantee.
package integration
