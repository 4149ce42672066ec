"""What a Python pool preloads: five heavy modules of the standard library, PREFORKD_BENCH_MB
megabytes of data, and a job that does nothing."""

import asyncio  # noqa: F401
import decimal  # noqa: F401
import email.message  # noqa: F401
import json  # noqa: F401
import os
import sqlite3  # noqa: F401

# Strings of 4,000 bytes: 256 of them and their headers fill one megabyte.
DATA = [bytes([33 + i % 90]) * 4000 for i in range(256 * int(os.environ.get("PREFORKD_BENCH_MB", "0")))]


def noop(params):
    """So that what is measured is the way to it."""


def announced(fd):
    """Says on a descriptor that it began: what a start is measured by."""
    os.write(fd, b"s")


def said(pipe):
    """The same through a pipe of multiprocessing."""
    pipe.send_bytes(b"s")
