"""The site as `make demo` runs it, for tests in this process."""

from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from config.prepare import make_people


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
