#!/usr/bin/env python3
"""What the fixture starts as its web server: it waits until it is told to stop."""

import signal

signal.pause()
