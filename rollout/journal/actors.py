"""Who acts, and the refusal that says why not."""

from typing import Protocol

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser

from rollout.plan.errors import RolloutError


class Refused(RolloutError):
    """The verb does not fit the state of the rollout; the message names the next thing to do."""


class Actor(Protocol):
    """Who acts: a user, or the shell's stand-in for one."""

    def get_username(self) -> str: ...


class Absent:
    """Who pressed some time ago, by the name that the journal kept."""

    def __init__(self, name: str) -> None:
        self.name = name

    def get_username(self) -> str:
        return self.name


def known_user(actor: Actor, what: str) -> AbstractBaseUser:
    """The user, as known to the site. Raises Refused for the shell's stand-in."""
    if not isinstance(actor, get_user_model()):
        raise Refused(f"Only a named user may {what}. In a shell, pass --user.")
    return actor
