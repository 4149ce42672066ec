"""The floor under a warm run in Python: os.fork and the child's first word on a socketpair, in a
process that has loaded what a pool loads. fork.py COUNT GAP_MS; prints JSON, microseconds."""

import gc
import json
import os
import socket
import sys
import time

import jobs
from percentiles import percentiles


def main():
    count, gap = min(int(sys.argv[1]), 100_000), min(int(sys.argv[2]), 1000) * 1_000_000
    ours, theirs = socket.socketpair()
    gc.freeze()
    started, reaped = [], []
    due = time.monotonic_ns()
    for _ in range(count):
        due += gap
        wait = due - time.monotonic_ns()
        if gap and wait > 0:
            time.sleep(wait / 1e9)
        before = time.monotonic_ns()
        pid = os.fork()
        if pid == 0:
            jobs.announced(theirs.fileno())
            os._exit(0)
        if ours.recv(1) != b"s":
            sys.exit("fork.py: the child said nothing")
        started.append(time.monotonic_ns() - before)
        os.waitpid(pid, 0)
        reaped.append(time.monotonic_ns() - before)
    print(json.dumps({"started": percentiles(started), "reaped": percentiles(reaped)}))


main()
