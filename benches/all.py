#!/usr/bin/env python3
"""`scripts/bench` without a name: every program, one after the other, each with the same options; then one table of all that is
held against something, and a picture of latency against load. What each of them prints is kept in target/bench."""

import json
import os
import signal
import subprocess
import sys
import time

from figures import frame, machine, whole
from figures.daemon import BENCHES

NAMES = ("runs", "zygotes", "load", "workers", "upgrade", "scale", "startup")
# Each has a limit of its own, below this one, and ends in order within so many seconds after SIGTERM.
LIMIT_S, LEAVE_S = 1500, 60


def measured(name, args):
    """What one program found, as its --json has it; None when it did not get so far."""
    kept = os.path.join(args.built, name)
    command = [sys.executable, str(BENCHES / f"{name}.py"), "--json", f"{kept}.json"]
    for option in ("daemon", "native", "built"):
        command += [f"--{option}", getattr(args, option)]
    command += ["--quick"] if args.quick else []
    command += ["--rounds", str(args.rounds)] if args.rounds else []
    command += ["--svg", args.svg] if name == "load" and args.svg else []
    if os.path.exists(f"{kept}.json"):
        os.remove(f"{kept}.json")
    with open(f"{kept}.txt", "w") as output:
        # In a session of its own, so that a terminal's interrupt comes once, from here, and not again while it is ending.
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, start_new_session=True)
        try:
            process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            frame.say(f"bench: {name} has not ended after {LIMIT_S} s")
        finally:
            end(process)
    try:
        with open(f"{kept}.json") as f:
            return json.load(f)
    except (OSError, ValueError):
        return None


def end(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main():
    files = {"--svg": "the picture of latency against load there, not to target/bench/latency.svg"}
    args = frame.chosen("scripts/bench", __doc__, "so many rounds of each; upgrade: upgrades and kills", files=files, programs=NAMES)
    signal.signal(signal.SIGTERM, frame.interrupted)
    begin, busy = time.monotonic(), machine.busy_share()
    found, failed, doubts = [], [], []
    for number, name in enumerate(args.programs):
        frame.say(f"bench: {name}, {number + 1} of {len(args.programs)}")
        if (result := measured(name, args)) is None:
            failed.append(f"{name}: not measured; {args.built}/{name}.txt may say why")
            continue
        found.append((name, result["held"]))
        doubts += [f"{name}: {line}" for line in result["header"] if line.startswith("NOT QUIET")]
        failed += [f"{name}: {what}: {why}" for what, why in result["missing"].items()]
    head = frame.around(args, failed + doubts, max(busy, machine.busy_share()), time.monotonic() - begin)
    print(whole.text(head, found), end="")
    table = args.markdown or os.path.join(args.built, "table.md")
    with open(table, "w") as f:
        f.write(whole.markdown(head, found))
    frame.say(f"bench: the table is in {table}")
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"header": head, "held": dict(found)}, f, indent=1)
    return 1 if failed else 0


if __name__ == "__main__":
    frame.ended_in_order(main)
