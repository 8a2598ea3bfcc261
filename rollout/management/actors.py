"""Actors in a shell: its own user, or a user of the site by password."""

import getpass
import os
import sys
from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User

from rollout.journal.actors import Actor, Refused
from rollout.journal.environments import home_of
from rollout.logs.texts import visible
from rollout.permissions import allowed_in

# As long as the journal's columns for names.
MAX_NAME_LENGTH = 150


class ShellActor:
    """The user of the shell, whom the site does not know."""

    def get_username(self) -> str:
        try:
            return visible(getpass.getuser())[:MAX_NAME_LENGTH]
        except (KeyError, OSError):
            return f"uid {os.getuid()}"


def add_user(verb: Any, *, required: bool = False) -> None:
    """Let a verb act as a user of the site."""
    verb.add_argument(
        "--user",
        required=required,
        metavar="NAME",
        help="act as this user (prompts for the password, or reads it from stdin)",
    )


def actor_of(name: str | None, permission: str, environment: str) -> Actor:
    """The user of that name, once the password is right; without a name, the shell's.

    Raises Refused where the password is wrong or the user may not do it.
    """
    if name is None:
        return ShellActor()
    user = User.objects.filter(username=name, is_active=True).first()
    if not _is_theirs(user, _password(name)) or user is None:
        raise Refused(
            f"Invalid user name or password. Check --user {name}, then type the password again."
        )
    if not allowed_in(user, permission, home_of(environment)):
        raise Refused(
            f"{name} does not have the permission {permission} in {environment}. Ask an "
            "administrator, or use another --user."
        )
    return user


def _is_theirs(user: User | None, password: str) -> bool:
    """Takes as long if there is no such user."""
    return (user or User(password=make_password(None))).check_password(password)


def _password(name: str) -> str:
    try:
        if sys.stdin.isatty():
            password = getpass.getpass(f"Password of {name}: ")
        else:
            password = sys.stdin.readline().rstrip("\n")
        password.encode()
    except UnicodeError:
        raise Refused("The password is not text in UTF-8. Type it again.") from None
    return password
