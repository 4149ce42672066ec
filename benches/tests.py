"""What can be known of these figures without a quiet machine: what the load client counts, and that the picture is one.
`scripts/check` runs it: `python3 benches/tests.py FOLDER` with the programs in C in that folder."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import unittest
import xml.etree.ElementTree

from figures import picture, report, whole
from figures.rounds import Beside, Offered, Section

LOAD = ""
SVG = "{http://www.w3.org/2000/svg}"


class Server:
    """Answers each line on one connection with what `answer` makes of it, and stands still once, when told to."""

    def __init__(self, answer, stall_at=None, stall_s=0):
        self.answer, self.stall_at, self.stall_s = answer, stall_at, stall_s
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(20)
        self.thread = threading.Thread(target=self.serve)

    def __enter__(self):
        self.thread.start()
        return self.listener.getsockname()[1]

    def __exit__(self, *_):
        self.thread.join(30)
        self.listener.close()

    def serve(self):
        connection, _ = self.listener.accept()
        with connection, connection.makefile("rb") as lines:
            for number, line in enumerate(lines):
                if number == self.stall_at:
                    time.sleep(self.stall_s)
                connection.sendall(self.answer(line))


def load(port, *args):
    command = [LOAD, "--port", str(port), "--connections", "1", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, json.loads(done.stdout)


def ok(_):
    return b"OK\n"


class Load(unittest.TestCase):
    def test_what_is_due_while_the_server_stands_still_is_sent_and_its_wait_is_counted(self):
        with Server(ok, stall_at=50, stall_s=0.4) as port:
            code, found = load(port, "--proto", "line", "--rate", 200, "--seconds", 1, "--schedule", "even")
        self.assertEqual((code, found["planned"], found["sent"], found["right"]), (0, 200, 200, 200))
        # Of 80 that are due meanwhile, 40 wait for more than half of it. A client that waits for answers has one.
        self.assertGreater(found["latency"]["p90"], 200_000)

    def test_a_schedule_has_the_rate_asked_for_and_follows_from_its_seed(self):
        for schedule in ("poisson", "bursts"):
            planned = []
            for seed in (1, 1, 2):
                with Server(ok) as port:
                    args = ("--proto", "line", "--rate", 1000, "--seconds", 0.5, "--schedule", schedule, "--seed", seed)
                    planned.append(load(port, *args)[1]["planned"])
            self.assertEqual(planned[0], planned[1])
            self.assertTrue(all(400 < n < 600 for n in planned), planned)

    def test_volleys_are_sent_at_once_and_those_of_the_warm_up_are_not_counted(self):
        with Server(ok) as port:
            _, found = load(port, "--proto", "line", "--rate", 40, "--seconds", 0.5, "--warm-s", 0.5, "--schedule", "volleys", "--volley", 10)
        self.assertEqual((found["sent"], found["right"], found["latency"]["count"]), (40, 20, 20))

    def test_refusals_are_counted_by_their_code(self):
        def refused(line):
            error = {"code": -32005, "message": "as many wait as may"}
            return json.dumps({"jsonrpc": "2.0", "id": json.loads(line)["id"], "error": error}, separators=(",", ":")).encode() + b"\n"

        with Server(refused) as port:
            code, found = load(port, "--rate", 100, "--seconds", 0.2, "--schedule", "even")
        self.assertEqual((code, found["right"], found["errors"], found["latency"]), (1, 0, {"-32005": 20}, None))


class Picture(unittest.TestCase):
    def test_every_point_lies_inside_its_panel(self):
        curve = [(10.0, 90.0), (500.0, 4000.0), (950.0, 812345.0)]
        panels = [picture.Panel("a < b", {"p50": curve}, [(1000, "full")]), picture.Panel("c", {"p50": curve[:2], "floor50": curve})]
        root = xml.etree.ElementTree.fromstring(picture.svg("title", "told", {"p50": "p50"}, panels))
        lines = root.findall(f"{SVG}polyline")
        self.assertEqual(len(lines), 3)
        for line in lines:
            for point in line.get("points").split():
                x, y = map(float, point.split(","))
                self.assertTrue(0 <= x <= float(root.get("width")))
                self.assertTrue(picture.TOP <= y <= picture.TOP + picture.HIGH)

    def test_axes_have_round_numbers(self):
        self.assertEqual(picture.steps(6900), [0, 2000, 4000, 6000])
        self.assertEqual(picture.steps(1040), [0, 250, 500, 750, 1000])
        self.assertEqual(picture.bounds([230, 9000]), (200, 10000))
        self.assertEqual([v for v, labelled in picture.decades(200, 2000) if labelled], [200, 500, 1000, 2000])


class Table(unittest.TestCase):
    def test_lines_that_are_held_against_something_are_in_it_with_the_figure_that_their_ratio_is_of(self):
        half = Offered("half", p50=100.0, p999=300.0, figure=300.0, limit=100.0, limit_is="p50", ratio=3.0, target=("<=", 4))
        rows = [half, Offered("not held", p50=1.0)]
        peers = [Beside("memory", preforkd=20.0, ratio=0.1, limit=200.0, limit_is="pm2"), Beside("", figure=20.0, ratio=0.4, target=("<=", 0.3))]
        found = [("load", report.held([Section("a", rows)])), ("workers", report.held([Section("b", peers)]))]
        self.assertEqual(found[0][1][0]["rows"], [["half", "300", "100 p50", "3.00", "≤ 4", "ok"]])
        self.assertEqual([row[:2] for row in found[1][1][0]["rows"]], [["memory", "20"], ["memory", "20"]])
        self.assertIn("2 targets: 1 ok, 1 missed.", whole.text(["head"], found))
        self.assertIn("| memory | 20 | 200 pm2 | 0.10 |  |  |", whole.markdown(["head"], found))


if __name__ == "__main__":
    LOAD = os.path.join(sys.argv.pop(1), "load")
    unittest.main()
