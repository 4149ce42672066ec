"""What all programs have around their measuring: arguments, a limit of time, and what becomes of the table."""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

from . import machine, report
from .daemon import BENCHES

ROOT = BENCHES.parent
CLASSES = 300
# More than this used by others before the start makes every figure doubtful.
QUIET_SHARE = 0.1


def say(text):
    print(text, file=sys.stderr, flush=True)


def parser(program, description, names, rounds, most):
    result = argparse.ArgumentParser(prog=program, description=description)
    result.add_argument("--quick", action="store_true", help="about a minute, for trying out; no figures to quote")
    result.add_argument("--only", action="append", metavar="NAME", default=[],
                        help=f"of {', '.join(names)}; may be repeated or have commas")
    result.add_argument("--rounds", type=int, choices=range(1, most + 1), metavar="N", help=rounds)
    result.add_argument("--markdown", metavar="FILE", help="write the table for the documentation too")
    result.add_argument("--json", metavar="FILE", help="write the figures of every round too")
    result.add_argument("--daemon", default=str(ROOT / "target/release/preforkd"), help="the program to measure")
    result.add_argument("--native", default=str(ROOT / "target/bench/native"), help="the native zygote")
    result.add_argument("--built", default=str(ROOT / "target/bench"), help="where the programs in C are")
    return result


def chosen(program, description, rounds="5, or 2 with --quick", most=50, files=None, **groups):
    """The arguments; of each of the `groups` of names, under the group's, those that `--only` names, or all. `files` are
    options beside the common ones, {name: what is written}."""
    names = tuple(name for group in groups.values() for name in group)
    arguments = parser(program, description, names, rounds, most)
    for option, written in (files or {}).items():
        arguments.add_argument(option, metavar="FILE", help=f"write {written}")
    args = arguments.parse_args()
    only = [n for o in args.only for n in o.split(",")]
    if unknown := [n for n in only if n not in names]:
        arguments.error(f"--only {unknown[0]}: there are {', '.join(names)}")
    # A daemon has a working directory of its own.
    for program in ("daemon", "native", "built"):
        setattr(args, program, os.path.abspath(getattr(args, program)))
    for group, of in groups.items():
        setattr(args, group, [n for n in of if n in only] or list(of))
    return args


def out_of_time(*_):
    raise TimeoutError("the time for all of it is over")


def interrupted(*_):
    raise KeyboardInterrupt


def in_rounds(steps, count, seconds):
    """Takes every step once a round, each round in an order of its own, so that a slow minute does not always hit the same
    ones. Answers how many rounds there were: none is begun that would end after so many seconds."""
    begin, longest = time.monotonic(), 0
    for number in range(count):
        before = time.monotonic()
        if before + longest > begin + seconds:
            say(f"bench: no time for round {number + 1}")
            return number
        say(f"bench: round {number + 1} of {count}, {len(steps)} measurements")
        for step in random.sample(steps, len(steps)):
            step()
        longest = max(longest, time.monotonic() - before)
    return count


def around(args, lines, busy, seconds):
    version = ""
    if os.path.exists(args.daemon):
        version = subprocess.run([args.daemon, "--version"], capture_output=True, text=True, timeout=10).stdout
    head = [
        f"{version.strip() or 'preforkd'}, {time.strftime('%Y-%m-%d')}; {machine.describe()}; took {seconds:.0f} s",
        *lines,
    ]
    if args.quick:
        head.append("--quick: tells whether it works, not how fast it is")
    if busy > QUIET_SHARE:
        head.append(f"NOT QUIET: others used {busy:.0%} of the machine before or after; do not quote these")
    return head


def whole(args, limit_s, measure):
    """`measure(folder of PHP classes)` answers (lines of the header, rounds, sections, system calls). Answers the
    exit code."""
    # An exception, so that everything on the way out is ended in order.
    signal.signal(signal.SIGALRM, out_of_time)
    signal.signal(signal.SIGTERM, interrupted)
    signal.alarm(limit_s)
    begin, busy = time.monotonic(), machine.busy_share()
    with tempfile.TemporaryDirectory(prefix="preforkd-bench-") as classes:
        subprocess.run(["php", str(BENCHES / "app/php/classes.php"), classes, str(CLASSES)], check=True)
        lines, rounds, sections, calls = measure(classes)
    head = around(args, lines, max(busy, machine.busy_share()), time.monotonic() - begin)
    print(report.text(head, sections, calls), end="")
    if args.markdown:
        with open(args.markdown, "w") as f:
            f.write(report.markdown(head, sections, calls))
    if args.json:
        with open(args.json, "w") as f:
            found = {"header": head, "held": report.held(sections), "missing": rounds.missing, "syscalls": calls, "rounds": rounds.values}
            json.dump(found, f, indent=1)
    failed = bool(rounds.missing) or any(isinstance(c, str) for _, c in calls)
    return 1 if failed or any(r.verdict == "not measured" for s in sections for r in s.rows) else 0


def ended_in_order(main):
    try:
        sys.exit(main())
    except (KeyboardInterrupt, TimeoutError) as e:
        sys.exit(f"bench: ended before the end: {str(e) or 'interrupted'}")
