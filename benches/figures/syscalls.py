"""System calls of the master for each run, counted by strace. Two counts of different length are taken and
subtracted, so that what belongs to a connection or to strace itself does not show."""

import os
import shutil
import signal
import subprocess
import tempfile
import time

from .daemon import NotMeasured

ATTACH_S = 5


class Strace:
    """Follows one process and its threads while the block lasts."""

    def __init__(self, pid, *flags):
        if shutil.which("strace") is None:
            raise NotMeasured("strace is not there")
        self.folder = tempfile.mkdtemp(prefix="preforkd-bench-")
        self.file = os.path.join(self.folder, "strace")
        # Its own bound, should this program be killed in the middle.
        self.command = ["timeout", "-s", "INT", "60", "strace", "-f", *flags, "-o", self.file, "-p", str(pid)]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        if "attached" not in line:
            self.end()
            raise NotMeasured(f"strace: {line.strip()}")
        time.sleep(0.2)
        return self

    def end(self):
        # `timeout` hands the signal on to strace.
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(ATTACH_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()

    def __exit__(self, *_):
        time.sleep(0.2)
        self.end()
        with open(self.file, errors="replace") as f:
            self.text = f.read()
        shutil.rmtree(self.folder, ignore_errors=True)


def parse_counts(text):
    """strace -c's table: … calls [errors] name."""
    counts = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) in (5, 6) and fields[3].isdigit() and fields[-1] != "total":
            counts[fields[-1]] = counts.get(fields[-1], 0) + int(fields[3])
    return counts


def counted(floors, daemon, few, many, running=0):
    """{call: times a run}, most frequent first; so many others are alive."""
    found = []
    for count in (few, many):
        daemon.settle(running=running)
        with Strace(daemon.master, "-c") as strace:
            floors.paced(daemon.port, count, "--entry", daemon.entry)
        found.append(parse_counts(strace.text))
    calls = {name: (n - found[0].get(name, 0)) / (many - few) for name, n in found[1].items()}
    calls = {name: n for name, n in calls.items() if n >= 0.005}
    return dict(sorted(calls.items(), key=lambda item: -item[1]))


def per_run(floors, daemon, few, many):
    """The same, and the calls of three runs in their order as text."""
    calls = counted(floors, daemon, few, many)
    daemon.settle()
    with Strace(daemon.master, "-r", "-yy", "-s", "120") as strace:
        floors.paced(daemon.port, 3, "--entry", daemon.entry)
    return calls, strace.text


def measure(floors, daemons, folder, few, many):
    """[(name of the configuration, {call: times a run} or why not)]; the calls in order go to the folder."""
    result = []
    for daemon in daemons:
        try:
            calls, text = per_run(floors, daemon, few, many)
        except NotMeasured as e:
            result.append((daemon.config.name, str(e)))
            continue
        name = "syscalls-" + daemon.config.name.replace(", ", "-").replace(" ", "-") + ".txt"
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)
        result.append((daemon.config.name, calls))
    return result
