"""Settings of the peers' project. What is not installed beside it is left out."""

import os
from importlib.util import find_spec

SECRET_KEY = os.environ["SECRET_KEY"]
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ["PEER_DATABASE"],
        "USER": os.environ["PEER_USER"],
        "HOST": os.environ["PEER_HOST"],
    }
}
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    *(name for name in ("maintenance_tasks", "django_tasks_db") if find_spec(name)),
    "bench",
    "bench.peers.site",
]
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
# 600 by default; as long as a lease of Rollout's is what both are given here.
STALE_AFTER_SECONDS = 10
MAINTENANCE_TASKS = {"STALE_AFTER": STALE_AFTER_SECONDS}
