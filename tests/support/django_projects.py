"""A small Django project in a folder, run by its own manage.py, with this checkout's Rollout."""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from config.home import ROOT
from tests.support.preloaded import preloaded_project

SETTINGS = """
import json, os
from pathlib import Path

BASE_DIR = Path(__file__).parent
SECRET_KEY = "of the test"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "company.urls"
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "django.contrib.messages", "django_htmx", "django_q", "rollout", "shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]},
}]
DATABASES = {"default": json.loads(os.environ["DATABASE"])}
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "snapshots": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": BASE_DIR / "snapshots"},
    },
}
ROLLOUT = {"SNAPSHOTS": {"STORAGE": "snapshots"}}
Q_CLUSTER = {
    "name": "company", "orm": "default", "timeout": 86400, "retry": 604800, "ack_failures": True,
    "save_limit": -1, "queue_limit": 1, "bulk": 1, "catch_up": False,
}
"""
# Each command loads the addresses of a project; those of the console take a third of a second.
URLS = "urlpatterns = []\n"
MANAGE = """
import sys
from itertools import groupby
from django.core.management import execute_from_command_line

for is_end, command in groupby(sys.argv[1:], "--then".__eq__):
    if not is_end:
        try:
            execute_from_command_line(["manage.py", *command])
        except SystemExit as ended:
            if ended.code:
                raise
"""


@dataclass(frozen=True)
class Project:
    """The folder of the project, whose one app is ``shop``."""

    directory: Path

    def write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def manage(self, url: str, *arguments: str, settings: str = "company.settings") -> str:
        """What a command prints, or several with ``--then`` between them, which share a process.

        An AssertionError has what went wrong.
        """
        status, text = self.try_to_manage(url, *arguments, settings=settings)
        assert status == 0, f"manage.py {' '.join(arguments)}: {text}"
        return text

    def try_to_manage(
        self, url: str, *arguments: str, settings: str = "company.settings"
    ) -> tuple[int, str]:
        """Exit status and all output of a command in the database of an address."""
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            process = preloaded_project.start(
                ["manage.py", *arguments],
                env=self.environment(url, settings),
                output=output,
                errors=errors,
                directory=str(self.directory),
            )
            status = process.wait()
            for file in (output, errors):
                file.seek(0)
            return status, output.read() + errors.read()

    def environment(self, url: str, settings: str = "company.settings") -> dict[str, str]:
        """The variables of a process of the project in the database of an address."""
        return {
            **os.environ,
            "DATABASE": json.dumps(database_of(url)),
            "DJANGO_SETTINGS_MODULE": settings,
            "PYTHONPATH": f"{self.directory}{os.pathsep}{ROOT}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }


def database_of(url: str) -> dict[str, object]:
    """An entry of DATABASES for an address."""
    parts = conninfo_to_dict(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.pop("dbname"),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": str(parts.pop("port", "")),
        "OPTIONS": parts,
    }


def make_project(directory: Path, *, models: str, plan: str) -> Project:
    """A project with Rollout installed, and an app ``shop`` without migrations."""
    project = Project(directory)
    for name, text in {
        "manage.py": MANAGE,
        "company/__init__.py": "",
        "company/settings.py": SETTINGS,
        "company/urls.py": URLS,
        "company/urls_without_rollout.py": URLS,
        "shop/__init__.py": "",
        "shop/migrations/__init__.py": "",
        "shop/models.py": models,
        "shop/rollout.py": plan,
    }.items():
        project.write(name, text)
    return project
