"""A worker of the fixture: it waits until it is told to stop."""

import signal

signal.pause()
