#!/usr/bin/env bash
# Makes what hbctl writes about itself, the man page and the completions, for the packages.
# Usage: packaging/documents.sh VERSION FOLDER
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=$1 folder=$2

mkdir -p "$folder"
# For the machine that packs, whatever machine it packs for.
env -u GOOS -u GOARCH CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-X main.version=$version" -o "$folder/hbctl" ./cmd/hbctl
"$folder/hbctl" __man >"$folder/hbctl.1"
gzip -9nc "$folder/hbctl.1" >"$folder/hbctl.1.gz" # -n: the time of packing is not in it
for shell in bash zsh fish; do
    "$folder/hbctl" completion "$shell" >"$folder/hbctl.$shell"
done
rm "$folder/hbctl"
