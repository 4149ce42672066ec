"""Somebody who connects to a Unix socket again and again, and notes for how long nobody listened."""

import socket
import threading
import time

EVERY_S = 0.01


class Knocking(threading.Thread):
    """In a `with`. `longest_ms` is from the last connection that was made before nobody listened to the next one."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path = path
        self.refused, self.longest_ms = 0, 0.0
        self.over = threading.Event()

    def knock(self):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            try:
                s.connect(self.path)
                return True
            except OSError:
                return False

    def run(self):
        last = time.monotonic()
        refused = False
        while not self.over.wait(EVERY_S):
            if not self.knock():
                refused = True
                self.refused += 1
                continue
            now = time.monotonic()
            if refused:
                self.longest_ms = max(self.longest_ms, (now - last) * 1000)
            last, refused = now, False

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()
