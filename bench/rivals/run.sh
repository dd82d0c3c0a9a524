#!/usr/bin/env bash
# Registers N (5000) instances by hbctl, raw etcd, etcd's Session and go-zero, on an etcd that it starts on a free port of the
# loopback address and ends. Arguments are passed on: -n, -at-once, -repeats. It needs Go.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

dir=$(mktemp -d)
etcd=
finish() {
    [[ -z $etcd ]] || { kill "$etcd" && wait "$etcd" || true; }
    rm -rf "$dir"
}
trap finish EXIT

(cd ../.. && CGO_ENABLED=0 go build -trimpath -o "$dir/hbctl" ./cmd/hbctl)
CGO_ENABLED=0 go build -trimpath -o "$dir/rivals" .

"$dir/hbctl" dev --listen 127.0.0.1:0 >"$dir/dev.out" 2>"$dir/dev.err" &
etcd=$!
until grep -qs '^export HBCTL_ENDPOINTS=' "$dir/dev.out"; do
    kill -0 "$etcd" 2>/dev/null || { cat "$dir/dev.err" >&2; exit 1; }
    sleep 0.1
done
HBCTL_ENDPOINTS=$(sed -n 's/^export HBCTL_ENDPOINTS=\([^ ]*\).*/\1/p' "$dir/dev.out")
export HBCTL_ENDPOINTS
"$dir/rivals" "$@"
