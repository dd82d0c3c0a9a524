#!/usr/bin/env bash
# How long hbctl takes from its start to its end, cold, beside etcdctl that gets the same keys from the same etcd: medians of
# RUNS (50) runs each. It needs Go and hyperfine, starts an etcd on a free port of the loopback address, and ends it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v hyperfine >/dev/null || { echo "hyperfine is not installed; Debian has it under that name" >&2; exit 1; }

dir=$(mktemp -d)
etcd=
finish() {
    [[ -z $etcd ]] || { kill "$etcd" && wait "$etcd" || true; }
    rm -rf "$dir"
}
trap finish EXIT

CGO_ENABLED=0 go build -trimpath -o "$dir/hbctl" ./cmd/hbctl
CGO_ENABLED=0 go build -trimpath -o "$dir/etcdctl" go.etcd.io/etcd/etcdctl/v3

"$dir/hbctl" dev --listen 127.0.0.1:0 >"$dir/dev.out" 2>"$dir/dev.err" &
etcd=$!
until grep -q '^export HBCTL_ENDPOINTS=' "$dir/dev.out"; do
    kill -0 "$etcd" 2>/dev/null || { cat "$dir/dev.err" >&2; exit 1; }
    sleep 0.1
done
HBCTL_ENDPOINTS=$(sed -n 's/^export HBCTL_ENDPOINTS=\([^ ]*\).*/\1/p' "$dir/dev.out")
export HBCTL_ENDPOINTS ETCDCTL_ENDPOINTS=$HBCTL_ENDPOINTS

# A hundred services that are up, as a registry writes them.
lease=$("$dir/etcdctl" lease grant 3600 | awk '{print $2}')
for i in $(seq -w 0 99); do
    "$dir/etcdctl" put "/hb/instances/cinder-volume/node$i" \
        '{"schema":1,"binary":"cinder-volume","host":"node'"$i"'","zone":"az1","created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z","report_count":1,"ttl_seconds":3600}'
    "$dir/etcdctl" put --lease="$lease" "/hb/alive/cinder-volume/node$i" '{"schema":1,"registration":"'"$i"'","pid":1}'
done >/dev/null
[[ $("$dir/hbctl" list --state up -o name | wc -l) == 100 ]]

hyperfine -N --style none --warmup 5 --runs "${RUNS:-50}" --export-csv "$dir/times.csv" \
    "$dir/hbctl version" "$dir/etcdctl version" "$dir/hbctl list" "$dir/etcdctl get --prefix /hb/" >/dev/null
awk -F, -v dir="$dir/" 'NR > 1 {
    sub(dir, "", $1)
    median[NR] = $4 * 1000
    printf "%-26s median %6.1f ms, from %.1f to %.1f ms", $1, median[NR], $7 * 1000, $8 * 1000
    if (NR % 2) printf "; the one above takes %.1f times as long", median[NR - 1] / median[NR]
    print ""
}' "$dir/times.csv"
