#!/usr/bin/env bash
# Installs the deb that `make snapshot` made into a fresh Debian in a folder, uses what it brought as people do, and removes
# it again. The rpm has to bring the same. It needs root and debootstrap, Docker to start the unit, and rpm for the rpm. The
# Debian is the one of this machine, from where apt takes it; SUITE and MIRROR say otherwise.
# Usage: packaging/test.sh [DEB [RPM]]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    printf '\nFAILED: %s\n' "$*" >&2
    exit 1
}
stage() { printf '\n=== %s [%ds]\n' "$*" "$SECONDS"; }

[[ $EUID == 0 ]] || fail "a system in a folder is made by root only: sudo $0"
command -v debootstrap >/dev/null || fail "there is no debootstrap: apt-get install debootstrap"
deb=${1:-$(echo dist/hbctl_*_"$(dpkg --print-architecture)".deb)}
rpm=${2:-$(echo dist/hbctl-*."$(uname -m)".rpm)}
[[ -f $deb ]] || fail "there is no $deb: make snapshot"

# What apt knows of this machine's release: the debootstrap of a machine behind a proxy or a mirror goes there, too.
suite=${SUITE:-$(. /etc/os-release && echo "$VERSION_CODENAME")}
from_apt() { apt-get indextargets --format "\$($1)" 'Created-By: Packages' "Codename: $suite" | sort -u; }
mirror=${MIRROR:-$(from_apt SITE | head -1)}
case $mirror in mirror+file:*) mirror=$(awk '/^[a-z]+:/ { print $1; exit }' "${mirror#mirror+file:}") ;; esac
components=$(from_apt COMPONENT | paste -sd, -)
eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
export http_proxy=${http_proxy:-} https_proxy=${https_proxy:-}

work=$(mktemp -d)
root=$work/root
container=hbctl-packages-$$ image=hbctl-packages-$$:local
cleanup() {
    docker rm --force "$container" &>/dev/null || true
    docker rmi "$image" &>/dev/null || true
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT

# within COMMAND…: in the folder's system. What is mounted or started for it ends with it.
within() {
    unshare --mount --pid --fork --kill-child bash -euc '
        mount -t proc proc "$0/proc"
        mount --rbind /dev "$0/dev"
        exec chroot "$0" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb "$@"' "$root" "$@"
}

# expect TEXT COMMAND…: the command ends with 0 and prints the text, which is shown.
expect() {
    local text=$1 out line
    shift
    out=$(within "$@" 2>&1) || fail "$* (exit $?):"$'\n'"$out"
    line=$(grep -m1 -F -e "$text" <<<"$out") || fail "$*: no '$text' in:"$'\n'"$out"
    printf '%s\n    %s\n' "$*" "$line"
}

stage "debootstrap of $suite"
debootstrap --variant=minbase --components="${components:-main}" --include=man-db,bash-completion,zsh,fish,systemd \
    "$suite" "$root" "$mirror" >"$work/log" 2>&1 || fail "debootstrap:"$'\n'"$(tail -20 "$work/log")"

stage "install $(basename "$deb") ($(du -h --apparent-size "$deb" | cut -f1))"
cp "$deb" "$root/hbctl.deb"
within dpkg -i /hbctl.deb
within dpkg-query -L hbctl >"$work/brought"
within dpkg-query -W -f '${Package} ${Version} ${Architecture}, ${Installed-Size} KiB installed\n' hbctl
while read -r path; do
    [[ -d $root$path ]] || (cd "$root" && stat -c '    %A %8s  %n' ".$path")
done <"$work/brought"

stage "use it"
version=v$(within dpkg-query -W -f '${Version}' hbctl | tr '~' '-')
expect "hbctl $version " hbctl version
expect "hbctl - " man -l --warnings=w /usr/share/man/man1/hbctl.1.gz
expect "hbctl $version" man hbctl
# The loader of bash-completion is what TAB calls for a command that is not known yet. It answers 124 when it has found it.
expect "_hbctl" bash -c '. /usr/share/bash-completion/bash_completion; loader=$(complete -p -D); loader=${loader#*-F }
    ${loader%% *} hbctl; [[ $? == 124 ]] && complete -p hbctl'
expect "_hbctl" zsh -fc 'autoload -Uz compinit && compinit -u -D && print $_comps[hbctl]'
expect "version" fish -c "complete -C 'hbctl vers'"

stage "the unit"
echo 'HBCTL_RUN=/bin/sleep 1000' >"$root/etc/hbctl/web.conf"
# systemd says nothing of a unit that is as it should be; what it says has to be asked for, where no journal runs.
complaints=$(within SYSTEMD_LOG_TARGET=console systemd-analyze verify hbctl-run@web.service 2>&1) || fail "systemd-analyze verify: $complaints"
[[ -z $complaints ]] || fail "systemd-analyze verify: $complaints"
echo "systemd-analyze verify hbctl-run@web.service: nothing to say"

# systemd starts units only where it is the first process, so the folder is made a container.
if docker info &>/dev/null; then
    stage "the unit, under systemd in a container"
    tar -C "$root" -c . | docker import - "$image" >/dev/null
    docker run --detach --name "$container" --network none --cap-add SYS_ADMIN --security-opt seccomp=unconfined \
        --security-opt apparmor=unconfined --cgroupns host --volume /sys/fs/cgroup:/sys/fs/cgroup --tmpfs /run --tmpfs /tmp \
        "$image" /lib/systemd/systemd >/dev/null
    docker cp packaging/unit.sh "$container:/unit.sh" >/dev/null
    docker exec "$container" timeout 60 bash -c 'until [[ -S /run/systemd/private ]] && systemctl list-jobs >/dev/null; do sleep 0.2; done' ||
        fail "systemd has not come up:"$'\n'"$(docker logs "$container" 2>&1)"
    docker exec "$container" /unit.sh
else
    stage "no Docker here: the unit is not started"
fi

stage "hbctl demo"
within hbctl demo

stage "remove it"
within dpkg --purge hbctl 2>&1 | sed 's/^/    /'
[[ -f $root/etc/hbctl/web.conf ]] || fail "the operator's /etc/hbctl/web.conf went with the package"
while read -r path; do
    [[ -d $root$path || ! -e $root$path ]] || fail "$path stayed behind"
done <"$work/brought"

if ! command -v rpm >/dev/null; then
    stage "no rpm here: $rpm is not looked at"
    exit
fi
stage "install $(basename "$rpm") ($(du -h --apparent-size "$rpm" | cut -f1))"
# Debian and the systems of rpm differ in where zsh looks and where licences are.
places() { sed -e 's,/zsh/vendor-completions,/zsh/site-functions,' -e 's,/usr/share/doc/hbctl/copyright,/usr/share/licenses/hbctl/LICENSE,'; }
mkdir "$work/rpm"
rpm --root "$work/rpm" --install --nodeps --noscripts "$rpm"
while read -r path; do
    [[ -e $work/rpm$path ]] || fail "the rpm does not bring $path"
done < <(places <"$work/brought")
"$work/rpm/usr/bin/hbctl" version
rpm -q --scripts --package "$rpm"

stage "all is well"
