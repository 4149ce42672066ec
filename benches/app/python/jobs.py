"""What a Python pool preloads: five heavy modules of the standard library, PREFORKD_BENCH_MB
megabytes of data, and a job that does nothing."""

import asyncio  # noqa: F401
import decimal  # noqa: F401
import email.message  # noqa: F401
import json  # noqa: F401
import os
import sqlite3  # noqa: F401
import time

# Strings of 4,000 bytes: 256 of them and their headers fill one megabyte.
DATA = [bytes([33 + i % 90]) * 4000 for i in range(256 * int(os.environ.get("PREFORKD_BENCH_MB", "0")))]


def noop(params):
    """So that what is measured is the way to it."""


def writes(params):
    """Writes to so many of the preload's pages, each so many after the one before; answers how long that took, in µs."""
    pages, step, count = params["pages"], params["step"], len(DATA)
    before = time.perf_counter_ns()
    for i in range(pages):
        data = DATA[i * step % count]  # noqa: F841 - the reference is counted, in the page
    return (time.perf_counter_ns() - before) / 1000


def announced(fd):
    """Says on a descriptor that it began: what a start is measured by."""
    os.write(fd, b"s")


def said(pipe):
    """The same through a pipe of multiprocessing."""
    pipe.send_bytes(b"s")
