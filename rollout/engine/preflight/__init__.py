"""Looks at everything that could go wrong with a phase before it begins. Changes nothing."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import psycopg
from psycopg import errors, sql

from rollout.engine.preflight import data, expressions, functions, server, sessions, tables
from rollout.engine.preflight.forecast import Forecaster, LockForecast, longest_transaction
from rollout.engine.preflight.item import Item, Limits, Scope, oids_of, seconds
from rollout.engine.target import Connection, Target
from rollout.plan.catalog import labels
from rollout.plan.plan import Plan
from rollout.plan.step import PREPARE, Step

USUAL = Limits()
Question = Callable[[Connection, Scope], Item]

__all__ = ["Item", "Limits", "LockForecast", "Preflight", "forecast_locks", "load", "look"]

_QUESTIONS: dict[str, Question] = {
    "server version": server.version,
    "rights": server.rights,
    "row security": server.row_security,
    "long transactions": sessions.long_transactions,
    "idle in transaction": sessions.idle_in_transaction,
    "prepared transactions": sessions.prepared_transactions,
    "ungranted locks": sessions.waiting_locks,
    "vacuum against wraparound": sessions.wraparound_vacuum,
    "replication lag": server.replication,
    "invalid indexes": tables.invalid_indexes,
    "other triggers": tables.other_triggers,
    "dependent views, functions and policies": tables.dependents,
    "functions that copy whole rows": functions.whole_rows,
    "functions that return rows": functions.returned_rows,
    "functions that name dropped columns": functions.dropped_columns,
    "publications": tables.publications,
    "schema": tables.schema_drift,
    expressions.NAME: expressions.expressions,
    "free disk": server.disk,
}


_LOAD = (
    *("long transactions", "idle in transaction", "ungranted locks"),
    *("vacuum against wraparound", "replication lag"),
)
"""Questions that tell how much a server has to do already."""


@dataclass(frozen=True)
class Preflight:
    """What was found, worst first, the locks of the phase, and the longest transaction now."""

    items: list[Item]
    locks: list[LockForecast]
    longest_transaction: int | None = None

    @property
    def refusal(self) -> str:
        """Why the phase is not to start; empty where nothing stands in its way."""
        blocking = [item for item in self.items if item.refuses]
        if not blocking:
            return ""
        first = blocking[0]
        more = f" And {len(blocking) - 1} more: look at the preflight." if blocking[1:] else ""
        return f"Preflight “{first.name}”: {first.evidence} {first.advice}{more}"

    def of(self, status: str) -> list[Item]:
        return [item for item in self.items if item.status == status]


class _Session:
    """A connection that asks each question for a short time, in a transaction of its own."""

    def __init__(self, connection: Connection, limits: Limits) -> None:
        self.connection = connection
        self._limits = limits
        self._until = time.monotonic() + seconds(limits.altogether)

    @contextmanager
    def question(self) -> Iterator[None]:
        """Raises QueryCanceled at once when the time for all questions has passed."""
        left = min(seconds(self._limits.question), self._until - time.monotonic())
        if left <= 0:
            raise errors.QueryCanceled("the time for all questions has passed")
        with self.connection.transaction():
            self.connection.execute("SET TRANSACTION READ ONLY")
            for name, value in (("statement_timeout", left), ("lock_timeout", 0.5)):
                self.connection.execute(
                    sql.SQL("SET LOCAL {} = {}").format(
                        sql.Identifier(name), sql.Literal(max(1, int(value * 1000)))
                    )
                )
            yield

    def ask(self, name: str, answer: Callable[[], Item]) -> Item:
        try:
            with self.question():
                return answer()
        except psycopg.Error as error:
            return unknown(name, error)


def unknown(name: str, error: psycopg.Error) -> Item:
    """An item that could not be asked, with the reason."""
    if isinstance(error, errors.QueryCanceled):
        return Item(
            name,
            "unknown",
            "The answer took too long, and was not waited for.",
            "Look again when the database has less to do.",
        )
    if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn):
        return Item(
            name,
            "unknown",
            f"It cannot be asked yet: {error.diag.message_primary}.",
            "Look again when the phases before this one are done.",
        )
    text = error.diag.message_primary or str(error).strip().splitlines()[0]
    return Item(name, "unknown", f"It could not be read: {text}.", "Put right what is named.")


def look(
    target: Target,
    plan: Plan,
    phase: int,
    *,
    steps_done: int | None = None,
    limits: Limits = USUAL,
) -> Preflight:
    """Ask everything there is to ask before a phase. Never raises for what the database does."""
    try:
        with target.connect() as connection:
            return _look(connection, target, plan, phase, steps_done=steps_done, limits=limits)
    except psycopg.Error as error:
        return Preflight([unknown("the database", error)], [])


def _look(
    connection: Connection,
    target: Target,
    plan: Plan,
    phase: int,
    *,
    steps_done: int | None,
    limits: Limits,
) -> Preflight:
    session = _Session(connection, limits)
    scope = Scope(plan, phase, oids_of(connection, labels(plan)), limits, steps_done)
    # Asked outside a transaction, in which a pooler would let us keep the session.
    items = [_pooler(connection, scope, target)]
    items += [
        session.ask(name, partial(question, connection, scope))
        for name, question in _QUESTIONS.items()
    ]
    try:
        with session.question():
            items += data.health_items(connection, scope)
    except psycopg.Error as error:
        items.append(unknown("health", error))
    items += [
        session.ask(hazard.name, partial(data.hazard, connection, hazard))
        for hazard in data.hazards_of(scope)
    ]
    items.sort(key=_badness)
    try:
        with session.question():
            locks = _forecast(connection, plan, list(plan.phases[phase].steps), forward=True)
            return Preflight(items, locks, longest_transaction(connection))
    except psycopg.Error as error:
        return Preflight([*items, unknown("lock forecast", error)], [])


def load(target: Target, plan: Plan, *, copies: int = 0) -> list[Item]:
    """What speaks against more work on a server now, worst first; all that could not be read too.

    ``copies`` of the plan's tables are to find room there.
    """
    try:
        with target.connect() as connection:
            session = _Session(connection, USUAL)
            scope = Scope(plan, PREPARE, oids_of(connection, labels(plan)))
            items = [
                session.ask(name, partial(_QUESTIONS[name], connection, scope)) for name in _LOAD
            ]
            items.append(
                session.ask("free disk", partial(server.room, connection, scope, copies=copies))
            )
            with session.question():
                items += data.health_items(connection, scope)
    except psycopg.Error as error:
        return [unknown("the database", error)]
    return sorted((item for item in items if item.status != "pass"), key=_badness)


def _pooler(connection: Connection, scope: Scope, target: Target) -> Item:
    try:
        return server.pooler(connection, scope, target)
    except psycopg.Error as error:
        return unknown("direct connection", error)


def _badness(item: Item) -> int:
    return 0 if item.refuses else {"fail": 1, "unknown": 2, "pass": 3}[item.status]


def forecast_locks(
    target: Target, plan: Plan, phase: int, *, forward: bool = True
) -> list[LockForecast]:
    """The locks of a phase one way, in the order in which they are taken."""
    steps = list(plan.phases[phase].steps)
    with target.connect() as connection:
        session = _Session(connection, USUAL)
        with session.question():
            return _forecast(connection, plan, steps if forward else steps[::-1], forward=forward)


def _forecast(
    connection: Connection, plan: Plan, steps: list[Step], *, forward: bool
) -> list[LockForecast]:
    forecaster = Forecaster(connection)
    return [
        lock
        for step in steps
        for lock in forecaster.of_step(step, plan.forward(step) if forward else plan.backward(step))
    ]
