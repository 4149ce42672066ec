"""What there is without preforkd: the programs in C, PHP and Python that set the limits, and the client
that all figures come from."""

import concurrent.futures
import contextlib
import json
import os
import subprocess
import time

from . import machine
from .daemon import BENCHES, NotMeasured

# Of SCHED_RR, for the client alone; any value would do, there is no other real-time process.
PRIORITY = 5


def output_of(command, env=None, limit_s=120):
    """Runs one program that prints one JSON object."""
    try:
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit_s)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise NotMeasured(f"{command[0]}: {e}") from e
    try:
        result = json.loads(done.stdout)
    except ValueError:
        message = (done.stderr or done.stdout).strip().splitlines()
        raise NotMeasured(f"{command[0]} ended with {done.returncode}: {' | '.join(message[-3:])}") from None
    if result.get("first_failure"):
        raise NotMeasured(f"{result['failed']} of {result['sent']} requests: {result['first_failure'].strip()}")
    return result


class Floors:
    def __init__(self, programs):
        self.programs = programs
        # What a native zygote really has, where one was started: the floor in C gets as much.
        self.native_kb = {}
        self.realtime = None

    def size_kb(self, mb):
        return str(max(mb * 1024, self.native_kb.get(mb, 0)))

    def tool(self, name):
        return os.path.join(self.programs.built, name)

    def client(self, port, *args, pinned):
        command = [self.tool("client"), "--port", str(port), "--rr", str(PRIORITY), *map(str, args)]
        if pinned:
            command += ["--cpu", str(machine.CLIENT_CPU)]
        result = output_of(command)
        self.realtime = result["realtime"]
        return result

    def paced(self, port, count, *args):
        """One request after the other, 10 ms apart, client and server on different processors."""
        return self.client(port, "--count", count, "--gap-ms", 10, *args, pinned=True)["latency"]

    def throughput(self, port, connections, seconds, *args):
        """Closed loops on so many connections; nobody is pinned."""
        return self.client(port, "--connections", connections, "--seconds", seconds, *args, pinned=False)

    def load(self, port, rate, seconds, *args):
        """Requests when they are due, so many a second in the mean, whatever has become of those before; nobody is pinned."""
        command = [self.tool("load"), "--port", str(port), "--rr", str(PRIORITY), "--rate", str(rate), "--seconds", str(seconds)]
        result = output_of(command + [*map(str, args)])
        if result["unanswered"] or result["overloaded"] or not result["latency"]:
            raise NotMeasured("{sent} of {planned} requests were sent, {unanswered} of them not answered".format(**result))
        self.realtime = result["realtime"]
        return result

    def fork_c(self, mb, count):
        """Ordinary priority: the parent stands for a zygote, not for the client."""
        return output_of([self.tool("forks"), "started", "--kb", self.size_kb(mb), "--count", str(count), "--gap-ms", "10"])

    def fork_php(self, mb, count):
        script = str(BENCHES / "app/php/fork.php")
        return output_of([self.programs.php, script, str(count), "10"], self.programs.env(mb))

    def fork_php_everywhere(self, count):
        """As many PHP processes as there are processors, each forking one child after the other: what PHP gets out of the machine."""
        loop = [self.programs.php, str(BENCHES / "app/php/fork.php"), str(count), "0"]
        with concurrent.futures.ThreadPoolExecutor() as threads:
            each = [threads.submit(output_of, loop, self.programs.env()) for _ in range(os.cpu_count() or 1)]
        return {"per_second": sum(loop.result()["per_second"] for loop in each)}

    def fork_python(self, mb, count):
        script = str(BENCHES / "app/python/fork.py")
        return output_of([self.programs.python, script, str(count), "10"], self.programs.env(mb))

    def forkserver(self, count):
        script = str(BENCHES / "app/python/forkserver.py")
        return output_of([self.programs.python, script, str(count), "10"], self.programs.env())

    def fork_loop(self, seconds):
        return output_of([self.tool("forks"), "loop", "--seconds", str(seconds)])

    def cold(self, runtime, count):
        """A cold interpreter and the same job: until the job begins, until the process has ended."""
        script = BENCHES / "app" / runtime / ("cold.php" if runtime == "php" else "cold.py")
        interpreter = self.programs.php if runtime == "php" else self.programs.python
        began, ended = [], []
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            for _ in range(count):
                ours, theirs = os.pipe()
                actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, theirs, 3)]
                before = time.monotonic_ns()
                pid = os.posix_spawnp(interpreter, [interpreter, str(script)], self.programs.env(), file_actions=actions)
                os.close(theirs)
                word = os.read(ours, 1)
                began.append((time.monotonic_ns() - before) / 1000)
                status = os.waitpid(pid, 0)[1]
                ended.append((time.monotonic_ns() - before) / 1000)
                os.close(ours)
                if word != b"s" or status != 0:
                    raise NotMeasured(f"cold {interpreter} {script}: status {status}")
        finally:
            os.close(null)
        return {"began": percentiles(began), "ended": percentiles(ended)}


def percentiles(samples_us):
    ordered = sorted(samples_us)

    def at(p):
        return ordered[max(1, -(-p * len(ordered) // 100)) - 1]

    return {"count": len(ordered), "p50": at(50), "p99": at(99)}


@contextlib.contextmanager
def background(*command):
    """A floor's server for as long as the block lasts; yields its port. It ends with its standard input,
    and by its own alarm."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        if not line.strip().isdigit():
            raise NotMeasured(f"{command[0]} did not start")
        yield int(line)
    finally:
        process.stdin.close()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
