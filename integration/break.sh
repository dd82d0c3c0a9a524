#!/usr/bin/env bash
# Breaks each guarantee on purpose, in a copy of the tree, and runs the test that is to keep it. A test that still passes
# can't fail, and the script fails. With --schedules the random schedules are run instead: they have to catch every breakage too.
# Usage: integration/break.sh [--schedules] [NAME…]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
survivors=0
schedules=0 # how many, for each breakage
if [[ ${1:-} == --schedules ]]; then
    schedules=600
    shift
fi

# breakage NAME FILE OLD NEW PACKAGE TESTS: replaces the text OLD, once, by NEW.
breakage() {
    local name=$1 file=$2 old=$3 new=$4 package=$5 tests=$6 args=()
    if [[ $schedules -gt 0 ]]; then
        package=./integration/schedules tests='^TestSchedules$'
        args=("-schedules=$schedules" -rapid.nofailfile -rapid.shrinktime=2s)
    fi
    if [[ ${#only[@]} -gt 0 && ! " ${only[*]} " == *" $name "* ]]; then return; fi
    rm -rf "${copy:?}"/* && git ls-files -z | xargs -0 cp --parents -t "$copy" 2>/dev/null
    if ! OLD=$old NEW=$new perl -0pi -e '$n = s/\Q$ENV{OLD}\E/$ENV{NEW}/; END { exit($n ? 0 : 1) }' "$copy/$file"; then
        echo "$name: the code to break is no longer in $file"
        survivors=$((survivors + 1))
        return
    fi
    if (cd "$copy" && go vet "./${file%/*}" && go test -timeout 300s -run "$tests" "$package" "${args[@]}") >"$copy/log" 2>&1; then
        echo "SURVIVED $name: $tests in $package passed although $file was broken"
        survivors=$((survivors + 1))
    elif grep -q -e '^--- FAIL' -e '^    --- FAIL' -e '^panic' "$copy/log"; then
        echo "caught   $name: $(grep -o -e '--- FAIL: [^ ]*' "$copy/log" | sort -u | tr '\n' ' ')$(caught_after "$copy/log")"
    else
        echo "UNCLEAR  $name: no test ran"
        tail -5 "$copy/log"
        survivors=$((survivors + 1))
    fi
}

# caught_after LOG says how many schedules it took, and what the first one to fail found.
caught_after() {
    sed -n -E 's/.*\[rapid\] failed after ([0-9]+) tests: [^ ]+ (.*)/after \1 schedules: \2/p; s/.*Original traceback \([^ ]+ (.*)/in some schedule: \1/p' "$1" | head -1 | cut -c1-150
}

only=("$@")

breakage 1-one-down watcher/diff.go \
    'known.is(keys) {' 'known.is(keys) || known != nil {' \
    ./integration 'TestCrashIsOneDown'
breakage 2-unreachable-is-not-down lease/renewer.go \
    'r.emit(Event{Kind: Fenced, Lease: l})' 'r.emit(Event{Kind: Fenced, Lease: l}); r.lost(l); return' \
    ./registry 'TestOutageLosesNothing'
breakage 2-unreachable-is-not-down-end-to-end lease/renewer.go \
    'r.emit(Event{Kind: Fenced, Lease: l})' 'r.emit(Event{Kind: Fenced, Lease: l}); r.lost(l); return' \
    ./integration 'TestUnreachableIsNotDown'
breakage 3-fence-counts-from-the-answer lease/renewer.go \
    'if fence := sent.add(ttl - margin(ttl));' 'if fence := now.add(ttl + time.Second);' \
    ./integration 'TestFencedBeforeDown'
breakage 3-fence-ignores-suspend lease/clock.go \
    'return min(deadline.mono.Sub(i.mono), deadline.boot-i.boot)' 'return deadline.mono.Sub(i.mono)' \
    ./lease 'TestSuspendFences'
breakage 4-fold-loses-admin-words watcher/fold.go \
    'c.put(family, ev.Kv)' 'if family != registry.FamilyAdmin { c.put(family, ev.Kv) }' \
    ./integration 'TestFoldEqualsList'
breakage 5-clean-stop-in-two-transactions registry/steps.go \
    'keys: keys, record: value, remove: true, elseRead: true,' 'keys: keys, remove: true, elseRead: true,' \
    ./integration 'TestCleanStopIsToldFromACrash'
breakage 6-deleted-keys-stay-away registry/onkey.go \
    'r.lost(g, errKeyDeleted)' '_ = errKeyDeleted' \
    ./integration 'TestMassDeleteIsMended'
breakage 6-lease-gone-is-the-end registry/group.go \
    'g.group, g.unsure, g.loose = nil, false, false' 'g.released, g.group, g.unsure, g.loose = true, nil, false, false' \
    ./integration 'TestRoundsOfTrouble|TestFaultsOnRealClusters'
breakage 6-leaving-is-forgotten registry/steps.go \
    'g.unsure = g.unsure || lease.Judge(err) == lease.Retry' 'g.incarnation = 0' \
    ./registry 'TestLeavingIsNeverForgotten'
breakage 7-stale-holder-writes registry/steps.go \
    'compare: []comparison{{keys.alive, incarnation}},' 'compare: nil,' \
    ./integration 'TestStaleHolderHurtsNobody'
breakage suspects-are-not-believed-to-be-back watcher/suspect.go \
    'return a.Holder.SameProcess(b.Holder) || aProcess != 0 && aProcess == bProcess' 'return false' \
    ./watcher 'TestSuspectComesBack'
breakage suspects-are-confirmed-at-once watcher/vigil.go \
    'return v.window + time.Duration(v.crowd)*confirmEach' 'return 0' \
    ./watcher 'TestConfirmedDown|TestSuspectComesBack'
breakage suspects-are-passed-by-the-position watcher/vigil.go \
    'return min(head, v.order[0].safe)' 'return head' \
    ./watcher 'TestVigilPosition'
breakage suspects-of-a-view-are-not-confirmed watcher/vigil.go \
    'v.follow(view.suspects)' '_ = view' \
    ./watcher 'TestSuspectsOfAView'
breakage suspects-are-not-kept-in-a-view watcher/viewjson.go \
    'v.suspects[name] = s' '_ = s' \
    ./watcher 'TestSuspectsOfAView'
if [[ $schedules -eq 0 ]]; then # a single member has no minority that could answer for an old state
    breakage suspects-are-confirmed-without-a-quorum watcher/confirmation.go \
        'header = nil' 'header = &pb.ResponseHeader{Revision: c.s.head.revision}' \
        ./watcher 'TestDownNeedsAQuorum'
fi
breakage positions-are-lost-while-etcd-is-away watcher/watcher.go \
    'b.Revision = from.revision' '' \
    ./watcher 'TestStaleKeepsThePosition'

if [[ $survivors -gt 0 ]]; then
    echo "$survivors breakages were not caught"
    exit 1
fi
echo "every breakage was caught"
