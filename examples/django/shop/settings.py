"""Settings of the shop: one app, one SQLite database, no web pages."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = os.environ.get("SHOP_SECRET_KEY", "only-for-this-example")
DEBUG = False
INSTALLED_APPS = ["orders"]
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BASE_DIR / "var" / "shop.sqlite3",
        "OPTIONS": {
            # Many runs write at the same time: they wait for each other from the first statement of a
            # transaction on (a later upgrade to a write lock would fail at once), and readers never wait.
            "timeout": 20,  # seconds
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
