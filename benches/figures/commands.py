"""What each command at the terminal takes from its fork to its end, beside a program that does nothing and beside the
commands of pm2 and supervisord."""

import contextlib
import os
import subprocess
import tempfile

from . import peers
from .apps import Preforkd, pausing
from .daemon import Config, NotMeasured
from .floors import output_of
from .rounds import Beside, Section, against, beside
from .syscalls import parse_counts

APPS = 5
# Against fork and exec of a program that does nothing.
TARGETS = {"status ID": ("<=", 3)}
FLOOR = "commands floor"
LIMIT_S = 30
# What the other two are asked for.
OF_PEERS = "list"


def commands(daemon):
    """{what: arguments}. All of them succeed as often as they are said."""
    live = daemon.ask("run", {"pool": "bench", "entry": "sleep", "params": {"seconds": 600}})["id"]
    ended = daemon.ask("run", {"pool": "bench", "entry": "noop", "wait": True})["id"]
    daemon.disconnect()
    return {
        "--version": ["--version"],
        "--help": ["--help"],
        "ping": ["ping"],
        "info": ["info"],
        "status ID": ["status", ended],
        "kill ID --signal CONT": ["kill", live, "--signal", "CONT"],
        "run": ["run", "bench", "noop"],
        "run --wait": ["run", "bench", "noop", "--wait"],
        "pools": ["pools"],
        "runs": ["runs", "--limit", "10"],
        OF_PEERS: ["list"],
        "logs --lines 10": ["logs", "--lines", "10", "--nostream"],
        "validate": ["validate", os.path.join(daemon.dir, "bench.json")],
        "completions bash": ["completions", "bash"],
    }


def calls(command):
    """System calls of a command with all its threads, from its exec on."""
    with tempfile.NamedTemporaryFile("r", prefix="preforkd-bench-") as counted:
        strace = ["strace", "-f", "-c", "-o", counted.name, *command]
        try:
            subprocess.run(strace, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=LIMIT_S, check=True)
        except (OSError, subprocess.SubprocessError) as e:
            raise NotMeasured(f"strace of {' '.join(command)}: {e}") from e
        return sum(parse_counts(counted.read()).values())


class Commands:
    def __init__(self, floors, rounds, effort):
        self.floors, self.rounds, self.effort = floors, rounds, effort
        self.counted = {}

    def start(self, stack, programs):
        cold = self.floors.tool("cold")
        pool = Config("native", idle=4).pool(programs)
        apps = pausing(self.floors.tool("worker"), APPS)
        daemon = stack.enter_context(Preforkd(programs, apps, [pool]))
        # How often in a round, and with what environment.
        found = {f"{FLOOR} dynamic": ([cold], None), f"{FLOOR} static": ([f"{cold}-static"], None)}
        for what, arguments in commands(daemon).items():
            command = [programs.daemon, "--dir", daemon.dir, *arguments]
            found[f"commands preforkd {what}"] = (command, None)
            self.counted[what] = calls(command)
        self.each = {name: self.effort.commands for name in found}
        for name, make in peers.supervisors(programs).items():
            if name == "preforkd":
                continue
            with contextlib.suppress(NotMeasured), contextlib.ExitStack() as one:
                peer = one.enter_context(make(apps))
                command = [peer.program, "jlist"] if name == "pm2" else peer.control("status")
                found[f"commands {name} {OF_PEERS}"] = (command, peer.env)
                self.each[f"commands {name} {OF_PEERS}"] = self.effort.cold_peers
                stack.enter_context(one.pop_all())
        return [self.step(name, *of) for name, of in found.items()]

    def step(self, name, command, env):
        def one():
            return output_of([self.floors.tool("cold"), str(self.each[name]), *command], env)

        def take(result):
            self.rounds.add(name, result["whole"])
            self.rounds.add_value(f"{name} faults", result["faults"])

        return lambda: self.rounds.measure(name, one, take)

    def section(self):
        rounds, rows = self.rounds, []
        floor = f"{FLOOR} dynamic p50"
        for kind in ("static", "dynamic"):
            faults = rounds.median(f"{FLOOR} {kind} faults")
            note = f"{faults:.0f} page faults" if faults is not None else rounds.missing.get(f"{FLOOR} {kind}", "")
            nothing = f"nothing, in C, linked {kind}"
            rows.append(Beside(nothing, limit=rounds.median(f"{FLOOR} {kind} p50"), limit_is=f"fork, exec of {kind}", note=note))
        for what, count in self.counted.items():
            name = f"commands {{}} {what} p50"
            mine = name.format("preforkd")
            holds = [(rounds.median(floor), "fork, exec of dynamic", rounds.ratio(mine, floor), TARGETS.get(what))]
            if what == OF_PEERS:
                holds += [against(rounds, name, peer) for peer in ("pm2", "supervisord")]
            faults, slow = (rounds.median(f"commands preforkd {what} {of}") for of in ("faults", "p99"))
            note = "" if faults is None else f"{count} system calls, {faults:.0f} page faults; 99 of 100 in {slow:,.0f}"
            rows += beside(rounds, what, name, holds, note)
        return Section("A command, from its fork until it is reaped, µs (list: pm2 jlist, supervisorctl status)", rows)
