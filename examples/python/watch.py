#!/usr/bin/env python3
"""A reader of `hbctl watch -o json` that keeps a table of what is up, in Python, with nothing but its standard library.

It shows how to
  - take lines together that belong together (more), and ignore kinds and fields that come with a later hbctl;
  - act on confirmed deaths only: suspect is none yet, and a down with the cause left is a clean stop;
  - know the difference between "down" and "nothing is known" (stale, and hbctl's exit code 4);
  - start hbctl again when it ends, and miss nothing: the state file says where it goes on, the table what was there. The batch
    that was under way when hbctl was killed may be told twice, so whatever is done about a death must bear to be done again.

To try it, with hbctl in the PATH:
  hbctl dev                                       # an etcd
  python3 examples/python/watch.py                # in a second terminal; it takes the flags of hbctl watch, such as --binary web
  hbctl run --binary web --ttl 5s -- sleep 1000   # in a third; kill -9 it, or Ctrl-C

What it leaves to you: what happened while this program itself did not run. It begins anew then, with what is there: the state
file and the table are thrown away together, since one is worth nothing without the other. If each death has to be acted upon,
use `hbctl watch --state-file FILE --confirm 2s -- COMMAND`, which goes on only when COMMAND has done its work.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time

UNREACHABLE = 4  # hbctl could not reach etcd, so nothing is known
SERVICE_KINDS = {"present", "up", "down", "suspect", "cleared", "updated", "enabled", "disabled"}
STATES = {"up": "up", "cleared": "up", "suspect": "suspect", "down": "down"}  # other kinds change no state


def name(line):
    return line["binary"] + "/" + line["host"]


def fold(table, batch, anew):
    """Bring the table, rows by name, up to what the batch says."""
    kinds = {line["kind"] for line in batch}
    # These say what there is, all of it. Nothing at all is a start too: then there is only synced.
    if kinds & {"present", "reset"} or (anew and "synced" in kinds):
        table.clear()
    for line in batch:
        if line["kind"] in SERVICE_KINDS:
            row = dict(line["service"])
            before = table.get(name(line), row)["state"]
            row["state"] = STATES.get(line["kind"], before)  # the row of a suspect is down already
            table[name(line)] = row
        elif line["kind"] == "forgotten":
            table.pop(name(line), None)


def act(line):
    """Do what has to be done about one line. Here it is said."""
    kind = line["kind"]
    if kind == "down" and line["cause"] != "left":
        say(f"death: {name(line)} ({line['incarnation']}): {line['cause'] or 'not known why'}")
    elif kind in SERVICE_KINDS or kind == "forgotten":
        say(f"{kind}: {name(line)}")
    elif kind == "stale":
        say("stale: etcd is not heard, so what is in the table is what was")
    elif kind in ("live", "reset"):
        say(kind)


def say(text):
    print(text, flush=True)


def follow(out, table, anew):
    """Read lines until there are no more. What came of a batch that is not whole is told again by the next hbctl."""
    batch = []
    for text in out:
        if not text.endswith("\n"):
            return  # hbctl was killed while it wrote
        line = json.loads(text)
        batch.append(line)
        if line.get("more"):
            continue
        fold(table, batch, anew)
        for line in batch:
            anew = anew and line["kind"] != "synced"
            act(line)
        say("table: " + " ".join(f"{n}={row['state']}:{row['incarnation']}" for n, row in sorted(table.items())))
        batch = []


def watch(state, table):
    """Run hbctl once, and give its exit code, below 0 for a signal."""
    command = ["hbctl", "watch", "-o", "json", "--state-file", state, "--confirm", "2s", *sys.argv[1:]]
    anew = not os.path.exists(state) or os.path.getsize(state) == 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", errors="replace") as hbctl:
        follow(hbctl.stdout, table, anew)
    # When this is left because we are to end, nobody reads from hbctl any more, which ends it.
    return hbctl.returncode


def main():
    for sig in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sig, lambda *_: sys.exit(0))  # as an exception, so that everything below is tidied up
    table = {}
    with tempfile.TemporaryDirectory() as folder:
        while True:
            code = watch(os.path.join(folder, "watch.state"), table)
            if code >= 0 and code != UNREACHABLE:
                return code  # 0: hbctl was asked to end. Else its words are on stderr, and would be the same again
            say(f"stale: hbctl ended with {code}, so what is in the table is what was")
            time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
