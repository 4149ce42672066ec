"""Clients that ask for runs all the time and lose none of them (benches/pipelined.c): what they saw, and when."""

import bisect
import collections
import itertools
import json
import os
import struct
import subprocess

from .daemon import NotMeasured

# A run every 20 ms from each: less than a tenth of what two processors can do beside everything else, so that a pause is a wait for the master and
# not for a processor. (With one every 5 ms the longest wait is 34 ms without any upgrade.)
CONNECTIONS, EVERY_US = 8, 20000
# struct seen of pipelined.c
SEEN = struct.Struct("@qqii")
CUT, FIRST = 2, 1
DRAIN_S = 20


class Pipelined:
    """In a `with`; `end` stops it in order, and then there are counts and times."""

    def __init__(self, floors, port, pool, folder, limit_s):
        self.file, self.times = os.path.join(folder, "ran"), os.path.join(folder, "times")
        self.command = [
            floors.tool("pipelined"), "--port", str(port), "--pool", pool, "--file", self.file, "--times", self.times,
            "--connections", str(CONNECTIONS), "--every-us", str(EVERY_US), "--limit-s", str(limit_s),
        ]

    def __enter__(self):
        for path in (self.file, self.times):
            open(path, "wb").close()
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def end(self):
        if self.process.poll() is not None:
            raise NotMeasured(f"the clients ended too early: {self.process.stderr.read().decode(errors='replace').strip()}")
        said, errors = self.process.communicate(timeout=DRAIN_S)
        try:
            self.counts = json.loads(said)
        except ValueError:
            raise NotMeasured(f"the clients ended with {self.process.returncode}: {errors.decode(errors='replace').strip()}") from None
        self.judge()
        with open(self.times, "rb") as f:
            seen = list(SEEN.iter_unpack(f.read()))
        self.waits = [[(since, ns) for since, ns, who, what in seen if who == c and what != CUT] for c in range(CONNECTIONS)]
        self.firsts = [[ns for _, ns, who, what in seen if who == c and what == FIRST] for c in range(CONNECTIONS)]

    def judge(self):
        """`lost` and `doubled`, by what the runs themselves wrote."""
        with open(self.file) as f:
            ran = collections.Counter(line.strip() for line in f)
        ids = [f"p{n}" for n in range(1, self.counts["begun"] + 1)]
        self.counts["doubled"] = sum(n - 1 for n in ran.values())
        self.counts["lost"] = sum(i not in ran for i in ids) + self.counts["unanswered"]

    def longest_pause(self, begin, end):
        """The longest time in ms, lying in part between these two, in which one of the clients waited and got no answer."""
        longest = 0
        for waits in self.waits:
            first = bisect.bisect_right(waits, begin, key=lambda wait: wait[1])
            found = itertools.takewhile(lambda wait: wait[0] < end, waits[first:])
            longest = max([longest, *(ns - since for since, ns in found)])
        return longest / 1e6

    def until_served(self, since):
        """From then to each client's first answer on its next connection, in ms; the first and the last client."""
        nexts = [bisect.bisect_right(times, since) for times in self.firsts]
        found = [times[at] for times, at in zip(self.firsts, nexts) if at < len(times)]
        if len(found) < CONNECTIONS:
            raise NotMeasured(f"{len(found)} of {CONNECTIONS} clients were served again")
        return (min(found) - since) / 1e6, (max(found) - since) / 1e6
