"""What the fixture starts as its worker: it waits until it is told to stop."""

import signal

signal.pause()
