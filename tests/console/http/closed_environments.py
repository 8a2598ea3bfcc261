"""Rollouts whose environment, plan or database is there no more."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from django.conf import LazySettings
from django.db import connections

from rollout.engine import target
from rollout.gates import cached_queries
from rollout.models import Rollout
from rollout.plan import plans
from rollout.queries.status import find_rollout
from tests.console import journal

FORMER = "former-plan"
AWAY = "away"
"""The alias of a database that nobody reaches."""


@dataclass
class State:
    """A rollout that lacks something, and what its pages say about it."""

    rollout: Rollout
    says: str
    closed: bool = False
    """Only the journal remembers it: nothing that needs a worker can be done."""
    answers: bool = False
    names: dict[str, object] = field(default_factory=dict)


Make = Callable[..., State]


def live(production: Rollout, **_: Any) -> State:
    """Nothing is away but a user: who started one of its two runs."""
    return State(production, "")


def dropped(production: Rollout, **_: Any) -> State:
    sandbox = journal.rehearsed(journal.taken(production)).sandbox
    return State(sandbox, "was dropped", closed=True)


def renamed(**_: Any) -> State:
    former = Rollout.objects.create(plan=journal.PLAN, environment="qa")
    return State(former, "is no longer in ROLLOUT", closed=True)


def without_its_alias(settings: LazySettings, **_: Any) -> State:
    name_environment(settings, "qa", "nowhere")
    return State(
        Rollout.objects.create(plan=journal.PLAN, environment="qa"),
        "which is not in DATABASES",
        closed=True,
    )


def without_its_plan(**_: Any) -> State:
    # It goes once there is something of it.
    plans.register(replace(plans.get(journal.PLAN), name=FORMER))
    return State(
        Rollout.objects.create(plan=FORMER, environment="production"),
        "is no longer in the project",
        closed=True,
    )


def refusing(settings: LazySettings, port: int, **_: Any) -> State:
    return unreachable(settings, port)


def silent(settings: LazySettings, port: int, **_: Any) -> State:
    return unreachable(settings, port)


def empty(settings: LazySettings, **_: Any) -> State:
    """A database that answers and has nothing of it: no table, no schema of the engine's."""
    connections.databases[AWAY] = {**connections.databases["default"], "NAME": "postgres"}
    name_environment(settings, "qa", AWAY)
    return State(
        find_rollout(journal.PLAN, "qa"), "The database differs from the plan", answers=True
    )


def unreachable(settings: LazySettings, port: int) -> State:
    connections.databases[AWAY] = {
        **connections.databases["default"],
        "HOST": "127.0.0.1",
        "PORT": port,
        "OPTIONS": {"connect_timeout": 2},
    }
    name_environment(settings, "qa", AWAY)
    return State(find_rollout(journal.PLAN, "qa"), "Cannot connect to database")


PRESSED: list[Make] = [live, dropped, renamed, without_its_plan, refusing, empty]
STATES: list[Make] = [*PRESSED, without_its_alias, silent]


def forget_the_database() -> None:
    if connections.databases.pop(AWAY, None):
        del connections[AWAY]
    target._silent.clear()
    cached_queries.invalidate()


def name_environment(settings: LazySettings, name: str, alias: str) -> None:
    named = {"production": "default", name: alias}
    settings.ROLLOUT = {**settings.ROLLOUT, "ENVIRONMENTS": named}


@contextmanager
def port_of(make: Make) -> Iterator[tuple[int, socket.socket]]:
    """A port that nobody listens on; or somebody does, who never says a word."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        if make is not refusing:
            bound.listen()
        yield bound.getsockname()[1], bound
