#!/bin/sh
# A service in shell, registered while it runs by `hbctl run`. It writes the time to a file, every second.
#
# It shows how to
#
#   - be up while the process runs, with nothing in the script that knows of etcd;
#   - end cleanly: at SIGTERM the work in hand is finished, the exit code is 0, and watchers are told "left";
#   - fail: any other exit code is told as "failed", with that code as the reason;
#   - be told down when it hangs (unhealthy), and up when it goes on, by sd_notify and --watchdog. This needs systemd-notify, which
#     Debian has in its package systemd; leave --notify and --watchdog away where there is none.
#
# To try it, with hbctl in the PATH:
#
#   hbctl dev                                                                                # an etcd
#   hbctl run --binary clock --notify --watchdog 5s -- examples/shell/service.sh /tmp/clock  # in a second terminal; then Ctrl-C
#   hbctl watch                                                                              # in a third
#
# What it leaves to you: what to do when it may no longer act because it was cut off from etcd. It runs on; `hbctl run --on-lost
# term` or kill ends it instead. What must not be done twice has to be fenced, see ../service.
set -u
out=${1:?"usage: service.sh FILE"}

# tell says something to hbctl, or to systemd, if somebody listens.
tell() {
    [ -n "${NOTIFY_SOCKET:-}" ] && command -v systemd-notify >/dev/null || return 0
    systemd-notify "$@"
}

stop=
trap 'stop=yes' TERM INT

tell --ready
while [ -z "$stop" ]; do
    echo "$$ $(date)" >"$out" || exit 3 # a code for each reason: it is what operators are told
    tell WATCHDOG=1                     # after the work, not beside it: it says that the work gets done
    sleep 1 &
    wait $! # a trap does not interrupt sleep; it does interrupt wait
done
tell --stopping
echo "$$ has ended" >"$out" || exit 3
