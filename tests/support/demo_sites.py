"""The site as `make demo` runs it, for tests in this process."""

import os
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from config import embedded
from config.prepare import make_people
from offers.generated import fill
from tests.support.servers import filled_template, manage


def demo_template(template: str) -> str:
    """The name of a copy of the template that has the demo's second application, with offers."""
    return filled_template("demo", template, _make_offers)


def _make_offers() -> None:
    name = str(connection.settings_dict["NAME"])
    url = embedded.with_database(os.environ["DATABASE_URL"], name)
    manage("migrate", "offers", "--verbosity", "0", url=url, DEMO="1")
    fill()


def become_demo(settings: Any, *, strict: bool = False) -> None:
    """Change the settings that are made at a start, and make the accounts."""
    options = settings.TEMPLATES[0]["OPTIONS"]
    processors = [*options["context_processors"], "config.demo_accounts.accounts"]
    settings.TEMPLATES = [
        {**settings.TEMPLATES[0], "OPTIONS": {**options, "context_processors": processors}}
    ]
    menu = "" if strict else "demo/user_menu.html"
    settings.ROLLOUT = {
        **settings.ROLLOUT,
        "USER_MENU": menu,
        "GUIDE": "config.guides.DemoGuide",
    }
    settings.DEMO, settings.DEMO_STRICT = True, strict
    settings.ROOT_URLCONF = "config.demo_urls"
    # That of production takes half a second for each account.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    make_people("of-this-test")


def logged_in(name: str, *, enforce_csrf_checks: bool = False) -> Client:
    browser = Client(enforce_csrf_checks=enforce_csrf_checks)
    browser.force_login(
        User.objects.get(username=name), "django.contrib.auth.backends.ModelBackend"
    )
    return browser
