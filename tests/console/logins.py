"""Browsers of people who have logged in."""

import time

from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    load_backend,
)
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client

from rollout.console.http.sessions import CONFIRMED, LOGGED_IN, SEEN


def logged_in(user: User) -> Client:
    """A browser with a session of its own, as a login leaves it.

    What else a login writes would be a quarter of a test that looks at one page.
    """
    session, now = SessionStore(), time.time()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = next(
        path for path in settings.AUTHENTICATION_BACKENDS if hasattr(load_backend(path), "get_user")
    )
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    for moment in (LOGGED_IN, SEEN, CONFIRMED):
        session[moment] = now
    session.create()
    client = Client()
    client.cookies[settings.SESSION_COOKIE_NAME] = str(session.session_key)
    return client
