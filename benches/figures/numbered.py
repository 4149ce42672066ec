"""Workers that write numbered lines all the time (benches/worker.c, `numbered`), and what became of the lines."""

import collections
import os
import re
import time
from dataclasses import dataclass

from .apps import App

WORKERS, EVERY_MS = 10, 5
# Enough for what is on its way.
ARRIVE_S = 1
LINE = re.compile(r"\d+ \d+ \d+")


@dataclass
class Lines:
    """Over all workers."""

    written: int
    lost: int
    doubled: int
    # Processes beside the first ones.
    restarted: int
    # The longest time without a line, in ms, for each worker.
    silences: list


def apps(worker, folder):
    return [App(f"numbered{i}", [worker, "numbered", str(EVERY_MS), written(folder, i)]) for i in range(WORKERS)]


def written(folder, i):
    return os.path.join(folder, f"written{i}")


def lines_of(path):
    with open(path, errors="replace") as f:
        # The last one may be half there.
        return [line[:-1] for line in f if line.endswith("\n")]


def logged(folder):
    """Every line in a log below the supervisor's folder that could be one of theirs, and how often."""
    found = collections.Counter()
    for at, _, names in os.walk(folder):
        for name in names:
            if ".log" in name:
                found.update(line for line in lines_of(os.path.join(at, name)) if LINE.fullmatch(line))
    return found


def begun(folder):
    """Pids of each worker's processes so far."""
    return [{line.split()[0] for line in lines_of(written(folder, i))} for i in range(WORKERS)]


def judge(folder, logs):
    """`folder`: where they write down what they wrote; `logs`: the supervisor's folder."""
    each = [lines_of(written(folder, i)) for i in range(WORKERS)]
    time.sleep(ARRIVE_S)
    found = logged(logs)
    times = [sorted(int(line.split()[2]) for line in lines) for lines in each]
    return Lines(
        written=sum(map(len, each)),
        lost=sum(line not in found for lines in each for line in lines),
        doubled=sum(n - 1 for n in found.values()),
        restarted=sum(len(pids) - 1 for pids in begun(folder)),
        silences=[max((b - a) / 1e6 for a, b in zip(t, t[1:])) for t in times if len(t) > 1],
    )
