"""pm2 and supervisord, installed under the build folder and run in a home of their own."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from . import machine
from .apps import Begun, Preforkd
from .daemon import NotMeasured

PM2, SUPERVISOR = "7.0.4", "4.3.0"
INSTALL_S = 180
COMMAND_S = 60
LEAVE_S = 5
# Three pipes and a log or two for each; the default of 1,024 is enough for 200.
FILES_EACH = 6


def run(command, env=None, limit_s=COMMAND_S):
    try:
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit_s)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise NotMeasured(f"{' '.join(command[:3])}: {e}") from e
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NotMeasured(f"{' '.join(command[:3])} ended with {done.returncode}: {' | '.join(said[-2:])}")
    return done.stdout


def installed_pm2(built):
    folder = pathlib.Path(built, "pm2")
    manifest = folder / "node_modules/pm2/package.json"
    if not manifest.exists() or json.loads(manifest.read_text())["version"] != PM2:
        shutil.rmtree(folder, ignore_errors=True)
        run(["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--no-save", f"pm2@{PM2}"], limit_s=INSTALL_S)
    return str(folder / "node_modules/.bin/pm2")


def installed_supervisor(built):
    folder = pathlib.Path(built, "supervisor")
    program = folder / "bin/supervisord"
    if not program.exists() or run([str(program), "--version"]).strip() != SUPERVISOR:
        shutil.rmtree(folder, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(folder)], limit_s=INSTALL_S)
        run([str(folder / "bin/pip"), "install", "--quiet", f"supervisor=={SUPERVISOR}"], limit_s=INSTALL_S)
    return str(program)


class Peer:
    """Nothing of it is left running after the `with`."""

    def __init__(self, program, apps):
        self.program, self.apps = program, apps
        self.dir = tempfile.mkdtemp(prefix="preforkd-bench-")
        self.begun = Begun(self.dir)
        self.log = os.path.join(self.dir, "bench.log")
        self.env = {**os.environ, "HOME": self.dir, "PM2_HOME": os.path.join(self.dir, "pm2")}
        self.process = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def bring_up(self, command):
        before = time.monotonic_ns()
        try:
            with open(self.log, "ab") as out:
                self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.env)
        except OSError as e:
            raise NotMeasured(f"start {command[0]}: {e.strerror}") from e
        self.pids, self.took_ms = self.begun.all_up(len(self.apps), before)

    def renewed(self):
        """For these each end is like the first one."""

    def log_tail(self):
        with open(self.log, errors="replace") as f:
            return " | ".join(f.read().strip().splitlines()[-3:])

    def stop(self):
        """Whatever has this home is killed, and what came meanwhile, too, until there is nothing."""
        until = time.monotonic() + LEAVE_S
        mark = f"PM2_HOME={self.env['PM2_HOME']}"
        while (left := machine.kill_marked(mark)) and time.monotonic() < until:
            if self.process:
                self.process.poll()
            time.sleep(0.02)
        if left:
            print(f"bench: {left} processes of {self.name} could not be killed", file=sys.stderr)
        self.begun.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class Pm2(Peer):
    name = "pm2"

    def definition(self, app):
        return {
            "name": app.name,
            "script": app.command[0],
            "args": app.command[1:],
            "interpreter": "none",
            "exec_mode": "fork",
            "cwd": self.dir,
            "env": {"BENCH_BEGUN": self.begun.path},
        }

    def file(self, apps):
        path = os.path.join(self.dir, "ecosystem.json")
        with open(path, "w") as f:
            json.dump({"apps": [self.definition(a) for a in apps]}, f)
        return path

    def start(self):
        command = [self.program, "start", self.file(self.apps)] if self.apps else [self.program, "ping"]
        self.bring_up(command)
        try:
            # It prints a table, and leaves.
            self.process.wait(COMMAND_S)
            with open(os.path.join(self.env["PM2_HOME"], "pm2.pid")) as f:
                self.daemons = [int(f.read())]
        except (OSError, ValueError, subprocess.TimeoutExpired) as e:
            raise NotMeasured(f"pm2 {command[1]}: {e}; {self.log_tail()}") from e

    @property
    def socket(self):
        return os.path.join(self.env["PM2_HOME"], "rpc.sock")

    def upgrade(self):
        """As its manual says to do after a new version was installed."""
        run([self.program, "update"], self.env)

    def add(self, app):
        run([self.program, "start", self.file([app])], self.env)

    def restarts(self, name):
        for app in json.loads(run([self.program, "jlist"], self.env).strip().splitlines()[-1]):
            if app["name"] == name:
                return f"{app['pm2_env']['restart_time']} restarts, then {app['pm2_env']['status']}"
        return "gone"


class Supervisord(Peer):
    name = "supervisord"

    def write(self, apps):
        at = self.dir
        lines = [
            "[supervisord]", f"logfile={at}/supervisord.log", f"pidfile={at}/supervisord.pid", f"childlogdir={at}",
            f"minfds={max(1024, FILES_EACH * len(apps) + 100)}", "nodaemon=true",
            "[unix_http_server]", f"file={at}/supervisor.sock",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
            "[supervisorctl]", f"serverurl=unix://{at}/supervisor.sock",
        ]
        for app in apps:
            lines += [
                f"[program:{app.name}]", f"command={' '.join(app.command)}", f"directory={at}",
                f'environment=BENCH_BEGUN="{self.begun.path}"',
                # Logs that it names itself are deleted when it starts again.
                f"stdout_logfile={at}/{app.name}.log",
            ]
        path = os.path.join(at, "supervisord.conf")
        with open(path, "w") as f:
            f.write("\n".join(lines) + "\n")
        return path

    def start(self):
        self.bring_up([self.program, "-c", self.write(self.apps)])
        self.listening()

    @property
    def socket(self):
        return os.path.join(self.dir, "supervisor.sock")

    def upgrade(self):
        """A new version serves after a shutdown and a start."""
        run(self.control("shutdown"), self.env)
        try:
            self.process.wait(COMMAND_S)
        except subprocess.TimeoutExpired as e:
            raise NotMeasured(f"supervisord did not shut down: {e}") from e
        self.bring_up([self.program, "-c", os.path.join(self.dir, "supervisord.conf")])
        self.listening()

    def listening(self):
        self.daemons = [self.process.pid]
        until = time.monotonic() + COMMAND_S
        while not os.path.exists(self.socket):
            if time.monotonic() > until or self.process.poll() is not None:
                raise NotMeasured(f"supervisord has no socket: {self.log_tail()}")
            time.sleep(0.02)

    def control(self, *words):
        program = os.path.join(os.path.dirname(self.program), "supervisorctl")
        return [program, "-c", os.path.join(self.dir, "supervisord.conf"), *words]

    def add(self, app):
        self.apps = [*self.apps, app]
        self.write(self.apps)
        run(self.control("update"), self.env)

    def restarts(self, name):
        with open(os.path.join(self.dir, "supervisord.log")) as f:
            begun = sum(f"spawned: '{name}'" in line for line in f)
        # Its exit code tells that the program is down: no failure here.
        said = subprocess.run(
            self.control("status", name),
            env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_S,
        )
        return f"{max(0, begun - 1)} restarts, then {(said.stdout.split() + ['?', '?'])[1].lower()}"


def supervisors(programs):
    """{name: what makes one of its apps}. One that cannot be installed says so whenever it is to be made."""

    def unless(install, kind):
        try:
            program = install(programs.built)
            return lambda apps: kind(program, apps)
        except NotMeasured as e:
            why = f"not installed: {e}"

            def refuse(_):
                raise NotMeasured(why)

            return refuse

    return {
        "preforkd": lambda apps: Preforkd(programs, apps),
        "pm2": unless(installed_pm2, Pm2),
        "supervisord": unless(installed_supervisor, Supervisord),
    }
