"""Actors, and the refusal that says why an action is not possible."""

from typing import Protocol

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser

from rollout.plan.errors import RolloutError


class Refused(RolloutError):
    """The verb does not fit the state of the rollout; the message names the next thing to do."""


class Actor(Protocol):
    """An actor: a user, or the shell's stand-in for one."""

    def get_username(self) -> str: ...


class Absent:
    """An earlier actor, by the name in the journal."""

    def __init__(self, name: str) -> None:
        self.name = name

    def get_username(self) -> str:
        return self.name


def known_user(actor: Actor, what: str) -> AbstractBaseUser:
    """The user, as known to the site. Raises Refused for the shell's stand-in."""
    if not isinstance(actor, get_user_model()):
        raise Refused(f"Only a named user may {what}. In a shell, pass --user.")
    return actor
