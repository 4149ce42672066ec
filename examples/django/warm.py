"""The preload: loaded once by preforkd, then forked for every run. Nothing else imports it."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

import django

django.setup()

import preforkd
from django.core.management import get_commands, load_command_class
from django.db import connections

# What runs use is imported here; whatever is left out, each run would import again.
import jobs.tasks
import orders.management.commands.report

get_commands()  # Django keeps the list, so that manage.py need not search for its commands again
load_command_class("orders", "report").create_parser("manage.py", "report")
jobs.tasks.totals(None)  # what Django finds out at the first query, it finds out here

# That has opened a connection. None may be open at a fork: an SQLite file can be damaged by it (sqlite.org, "How To
# Corrupt An SQLite Database File", 2.6), and a socket to a server would be read by all children at once.
connections.close_all()


@preforkd.after_fork
def connect():
    """Each run has a connection of its own. A run that cannot get one is refused, and has not started."""
    connections["default"].ensure_connection()
