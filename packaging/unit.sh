#!/usr/bin/env bash
# What hbctl-run@.service makes of an instance that starts, stops, fails and is killed, under a systemd that runs. It is
# started by test.sh in a container that is for nothing else: it writes to /etc, and kills.
set -euo pipefail

fail() {
    printf '\nFAILED: %s\n' "$*" >&2
    systemctl status --no-pager --full 'hbctl-run@*' etcd >&2 || true
    journalctl --no-pager --lines=50 >&2 || true
    exit 1
}
# await COMMAND…: until it ends with 0.
await() {
    local deadline=$((SECONDS + 60))
    until "$@"; do
        [[ $SECONDS -lt $deadline ]] || fail "not within a minute: $*"
        sleep 0.2
    done
}
ok() { printf '    %s\n' "$*"; }

unit() { systemctl show --value --property="$1" hbctl-run@web; }
# told FIELD: what hbctl list says of the instance
told() { hbctl list --jq ".services[] | select(.binary == \"web\") | .$1"; }
is() { [[ $("${@:2}") == "$1" ]]; }

[[ -f /.dockerenv && -d /run/systemd/system ]] || fail "this is for a container with systemd in it"
cat >/usr/local/bin/web <<'WEB'
#!/bin/sh
printf '%s|' "$@" >/run/web.args
echo $$ >/run/web.pid
exec sleep 100000
WEB
chmod 755 /usr/local/bin/web
echo 'HBCTL_ENDPOINTS=127.0.0.1:2379' >/etc/hbctl/hbctl.env

rm -f /etc/hbctl/web.conf
! systemctl start hbctl-run@web 2>/dev/null || fail "an instance without its file has started"
is inactive unit ActiveState || fail "an instance without its file is $(unit ActiveState)"
ok "without its file it does not start, and is not tried again"

cat >/etc/hbctl/web.conf <<'CONF'
HBCTL_RUN=/usr/local/bin/web --port "80 80"
HBCTL_RUN_FLAGS=--host node1 --ttl 3s
CONF
systemctl start --no-block hbctl-run@web
runs() { is hbctl cat "/proc/$(unit MainPID)/comm" 2>/dev/null; }
await runs
is activating unit ActiveState || fail "there is no etcd yet, and it is $(unit ActiveState)"
systemd-run --quiet --unit=etcd hbctl dev
await is active unit ActiveState
is up told state || fail "it has started, and is $(told state)"
await test -s /run/web.pid
[[ $(cat /run/web.args) == '--port|80 80|' ]] || fail "the command got $(cat /run/web.args)"
ok "started means registered: $(hbctl list --output name) is up"

systemctl stop hbctl-run@web
is left told cause || fail "it was stopped, and is down by $(told cause)"
is inactive unit ActiveState || fail "it was stopped, and is $(unit ActiveState): $(unit Result)"
ok "stopped, it has left; that the command ended by SIGTERM is no failure"

rm /run/web.pid
systemctl start hbctl-run@web
await test -s /run/web.pid
kill -KILL "$(cat /run/web.pid)"
await is failed told cause
ok "its command killed, it is down as failed: $(told cause_reason)"
await is up told state
ok "and started again, $(unit NRestarts) time"

incarnation=$(told incarnation) command=$(cat /run/web.pid)
systemctl kill --kill-whom=main --signal=KILL hbctl-run@web
await test ! -e "/proc/$command"
newer() { [[ $(told state) == up && $(told incarnation) -gt $incarnation ]]; }
await newer
ok "hbctl killed, its command is gone, and it is up again: incarnation $incarnation, then $(told incarnation)"
systemctl stop hbctl-run@web
