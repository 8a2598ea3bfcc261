"""Checks everything that could go wrong with a phase before it starts. Changes nothing.

``look`` is the preflight of one phase; ``readiness`` covers all phases still to come.
``probes.PROBES`` lists the questions.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

import psycopg
from psycopg import errors

from rollout.engine.kept_names import with_names_of_now
from rollout.engine.preflight import data, probes, server
from rollout.engine.preflight.forecast import Forecaster, LockForecast, longest_transaction
from rollout.engine.preflight.item import (
    LEVELS,
    Item,
    Level,
    Limits,
    Scope,
    oids_of,
    seconds,
)
from rollout.engine.preflight.probes import Lifetime
from rollout.engine.target import Connection, Target
from rollout.plan.expected_catalogs import labels
from rollout.plan.plan import BACKFILL, CONTRACT, PREPARE, Plan, Step

USUAL = Limits()
# What a query to a database raises: text in another encoding than declared comes as bytes.
NO_ANSWER = (psycopg.Error, UnicodeError)
# Readiness asks five phases' questions, days before anybody waits for the answer.
PATIENT = Limits(altogether=timedelta(seconds=60))

__all__ = [
    "LEVELS",
    "Findings",
    "Item",
    "Level",
    "Limits",
    "LockForecast",
    "Preflight",
    "Readiness",
    "forecast_locks",
    "load",
    "readiness",
    "run",
    "worst_first",
]


@dataclass(frozen=True)
class Findings:
    """What was found, worst first."""

    items: list[Item]

    def of(self, level: Level) -> list[Item]:
        return [item for item in self.items if item.level == level]

    @property
    def problems(self) -> list[Item]:
        """What to read before the phase starts."""
        return [item for item in self.items if item.is_problem]

    @property
    def info(self) -> list[Item]:
        return self.of("info")

    @property
    def passed(self) -> list[Item]:
        return self.of("pass")

    @property
    def worst(self) -> Level:
        return min((item.level for item in self.items), key=LEVELS.index, default="pass")


@dataclass(frozen=True)
class Preflight(Findings):
    """What was found before a phase, the locks of the phase, and the longest transaction now."""

    locks: list[LockForecast]
    longest_transaction: int | None = None

    @property
    def refusal(self) -> str:
        """Why the phase must not start; empty where nothing blocks it."""
        blocking = self.of("blocks")
        if not blocking:
            return ""
        first = blocking[0]
        more = f" And {len(blocking) - 1} more in the preflight." if blocking[1:] else ""
        return f"Preflight “{first.name}”: {first.sentence} {first.advice}{more}"


@dataclass(frozen=True)
class Readiness(Findings):
    """What would stop or hurt the phases from ``phase`` on; each item names the first of them.

    ``later`` are the questions that cannot be asked yet, with the phase whose preflight will.
    """

    phase: int
    later: list[tuple[int, str]]

    @property
    def verdict(self) -> str:
        """The whole in a sentence or two."""
        if self.phase > CONTRACT:
            return "All phases are done."
        blocks, warns, unknown = (len(self.of(level)) for level in LEVELS[:3])
        warnings = f"{warns} warning{'' if warns == 1 else 's'}"
        verdict = f"{blocks} blocking, {warnings}, {unknown} unknown"
        if not self.items:
            verdict = f"No problems found from phase {self.phase} on"
        later = (
            f" Checks that must wait for an earlier phase: {len(self.later)}." if self.later else ""
        )
        return f"{verdict}.{later}"


class _Session:
    """A connection that asks each question for a short time, in a transaction of its own."""

    def __init__(self, connection: Connection, limits: Limits) -> None:
        self.connection = connection
        self._limits = limits
        self._until = time.monotonic() + seconds(limits.altogether)

    @contextmanager
    def question(self, *, tries_writes: bool = False) -> Iterator[None]:
        """What is written is rolled back.

        Raises QueryCanceled at once when the time for all questions has passed.
        """
        left = min(seconds(self._limits.question), self._until - time.monotonic())
        if left <= 0:
            raise errors.QueryCanceled("the time for all checks is over")
        # One snapshot for all of a question's statements: the application keeps writing. In one
        # message: dozens of questions are asked, and most are answered sooner than they travel.
        mode = "READ WRITE" if tries_writes else "READ ONLY"
        self.connection.execute(
            f"BEGIN ISOLATION LEVEL REPEATABLE READ, {mode};"
            f"SET LOCAL statement_timeout = {max(1, int(left * 1000))};"
            "SET LOCAL lock_timeout = '500ms'".encode(),
            prepare=False,
        )
        try:
            yield
        finally:
            if not self.connection.broken:
                self.connection.rollback()

    def ask(self, name: str, question: Callable[[], Item], *, tries_writes: bool = False) -> Item:
        try:
            with self.question(tries_writes=tries_writes):
                return question()
        except NO_ANSWER as error:
            return unknown(name, error)


def not_yet(name: str, reason: str) -> Item:
    """An item about what an earlier phase is still to bring."""
    return Item(
        name,
        "unknown",
        f"Cannot be checked yet: {reason}.",
        "Run again when the earlier phases are done.",
        not_yet=True,
    )


def unknown(name: str, error: psycopg.Error | UnicodeError) -> Item:
    """An item that could not be asked, with the reason."""
    if isinstance(error, errors.QueryCanceled):
        return Item(
            name,
            "unknown",
            "Timed out.",
            "Run again when the database is less busy.",
        )
    if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn | errors.InvalidSchemaName):
        return not_yet(name, error.diag.message_primary or "something is missing")
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    text = primary or str(error).strip().splitlines()[0]
    return Item(
        name, "unknown", f"Could not be read: {text}.", "Fix the issue above, then run again."
    )


def run(
    target: Target,
    plan: Plan,
    phase: int,
    *,
    steps_done: int | None = None,
    limits: Limits = USUAL,
) -> Preflight:
    """Ask everything there is to ask before a phase. Never raises for what the database does."""
    try:
        with target.connect_briefly() as connection:
            return _run(connection, target, plan, phase, steps_done=steps_done, limits=limits)
    except NO_ANSWER as error:
        return Preflight([unknown("the database", error)], [])


def _run(
    connection: Connection,
    target: Target,
    plan: Plan,
    phase: int,
    *,
    steps_done: int | None,
    limits: Limits,
) -> Preflight:
    session, named = _Session(connection, limits), with_names_of_now(connection, plan)
    oids = oids_of(connection, labels(plan))
    scope = Scope(named, phase, oids, limits, steps_done, declared=plan)
    items = _before(session, scope, target)
    items = _with_later(items, _stays_in_later_phases(session, scope))
    items = worst_first(items)
    try:
        with session.question():
            locks = _forecast(connection, plan, list(plan.phases[phase].steps), forward=True)
            return Preflight(items, locks, longest_transaction(connection))
    except NO_ANSWER as error:
        return Preflight([*items, unknown("lock forecast", error)], [])


def _before(session: _Session, scope: Scope, target: Target) -> list[Item]:
    """Everything there is to ask before a phase."""
    connection = session.connection
    # Asked outside a transaction, in which a pooler would let us keep the session.
    items = [replace(_pooler(connection, scope, target), phase=scope.phase)]
    items += _items(session, scope, set(Lifetime))
    try:
        with session.question():
            items += data.health_items(connection, scope)
    except NO_ANSWER as error:
        items.append(unknown("health", error))
    return [replace(item, phase=scope.phase) for item in items]


def _items(
    session: _Session, scope: Scope, lifetimes: set[Lifetime], *, is_filled: bool = True
) -> list[Item]:
    """What probes of such lifetimes and the phase's own steps answer."""
    connection = session.connection
    asked = [
        session.ask(
            probe.name, partial(probe.ask, connection, scope), tries_writes=probe.tries_writes
        )
        for probe in probes.of_phase(scope.phase)
        if probe.lifetime in lifetimes
    ]
    asked += [
        session.ask(hazard.name, partial(data.hazard, connection, hazard))
        if is_filled or not hazard.needs_backfill
        else not_yet(hazard.name, "phase 2 fills the column")
        for hazard in data.hazards_of(scope)
        if Lifetime.CHANGES in lifetimes or hazard.stays
    ]
    return [replace(item, phase=scope.phase) for item in asked]


def _later_scopes(scope: Scope) -> list[Scope]:
    return [
        replace(scope, phase=number, steps_done=None)
        for number in range(scope.phase + 1, len(scope.plan.phases))
    ]


def _stays_in_later_phases(session: _Session, scope: Scope) -> list[Item]:
    """What blocks a later phase and does not change on the way: it blocks phase 0 already.

    Once the rollout has started it warns, and blocks only its own phase.
    """
    return [
        item if scope.phase == PREPARE else replace(item, level="warns")
        for later in _later_scopes(scope)
        for item in _items(session, later, {Lifetime.STAYS})
        if item.level == "blocks"
    ]


def _with_later(items: list[Item], later: list[Item]) -> list[Item]:
    """Each name once: what is worse counts, of equals what comes first."""
    by_name: dict[str, Item] = {}
    for item in (*items, *later):
        known = by_name.setdefault(item.name, item)
        if _badness(item) < _badness(known):
            by_name[item.name] = item
    return list(by_name.values())


def readiness(
    target: Target,
    plan: Plan,
    phase: int,
    *,
    steps_done: int | None = None,
    limits: Limits = PATIENT,
) -> Readiness:
    """Ask what would stop or hurt any phase from this one on. Never raises for the database."""
    try:
        with target.connect_briefly() as connection:
            session, named = _Session(connection, limits), with_names_of_now(connection, plan)
            oids = oids_of(connection, labels(plan))
            scope = Scope(named, phase, oids, limits, steps_done, declared=plan)
            items = _before(session, scope, target)
            for later in _later_scopes(scope):
                lifetimes = {Lifetime.CHANGES, Lifetime.STAYS}
                items += _items(session, later, lifetimes, is_filled=phase > BACKFILL)
    except NO_ANSWER as error:
        return Readiness([unknown("the database", error)], phase, [])
    later_items = [(item.phase or 0, item.name) for item in items if item.not_yet]
    # The same finding of a later phase is left out.
    first: dict[tuple[str, str, str], Item] = {}
    for item in items:
        if item.is_problem and not item.not_yet:
            first.setdefault((item.name, item.level, item.evidence), item)
    return Readiness(worst_first(first.values()), phase, later_items)


def load(target: Target, plan: Plan, *, copies: int = 0) -> list[Item]:
    """What speaks against more work on a server now, worst first; all that could not be read too.

    ``copies`` of the plan's tables are to find room there.
    """
    try:
        with target.connect_briefly() as connection:
            session = _Session(connection, USUAL)
            scope = Scope(plan, PREPARE, oids_of(connection, labels(plan)))
            items = [
                session.ask(probe.name, partial(probe.ask, connection, scope))
                for probe in probes.PROBES
                if probe.tells_load
            ]
            items.append(
                session.ask("free disk", partial(server.room, connection, scope, copies=copies))
            )
            with session.question():
                items += data.health_items(connection, scope)
    except NO_ANSWER as error:
        return [unknown("the database", error)]
    return worst_first(item for item in items if item.is_problem)


def _pooler(connection: Connection, scope: Scope, target: Target) -> Item:
    try:
        return server.pooler(connection, scope, target)
    except NO_ANSWER as error:
        return unknown("direct connection", error)


def worst_first(items: Iterable[Item]) -> list[Item]:
    return sorted(items, key=_badness)


def _badness(item: Item) -> tuple[int, int]:
    return LEVELS.index(item.level), item.phase or 0


def forecast_locks(
    target: Target, plan: Plan, phase: int, *, forward: bool = True
) -> list[LockForecast]:
    """The locks of a phase in one direction, in the order in which they are taken."""
    steps = list(plan.phases[phase].steps)
    with target.connect_briefly() as connection:
        session = _Session(connection, USUAL)
        with session.question():
            return _forecast(connection, plan, steps if forward else steps[::-1], forward=forward)


def _forecast(
    connection: Connection, plan: Plan, steps: list[Step], *, forward: bool
) -> list[LockForecast]:
    way = plan.forward if forward else plan.backward
    return Forecaster(connection, [(step, way(step)) for step in steps]).locks()
