"""A preflight's scope, and its findings."""

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any, Literal, get_args

from rollout.engine.target import Connection
from rollout.plan.actions import Compute, Fill, Lock, LockMode, Statement
from rollout.plan.plan import Plan
from rollout.plan.table import label_sql

_STRENGTH = {mode: strength for strength, mode in enumerate(LockMode)}
# From this mode on a lock conflicts with itself, with a vacuum and with most other changes.
STRONG = _STRENGTH[LockMode.SHARE_UPDATE_EXCLUSIVE]


# Worst first: pages and the shell list items in this order.
Level = Literal["blocks", "warns", "unknown", "info", "pass"]
LEVELS: tuple[Level, ...] = get_args(Level)


@dataclass(frozen=True)
class Item:
    """The answer to one question, and what it means for a phase.

    - ``blocks``: the phase does not start; it would fail, lose data, or break the application.
    - ``warns``: the phase may start, but it would hurt; read the advice first.
    - ``unknown``: it could not be asked, and the evidence says why. It keeps nothing from starting.
    - ``info``: worth knowing; nothing is to do.
    - ``pass``: all is well.

    ``phase`` is the first phase that it is about. An item that is ``not_yet`` known asks for what
    an earlier phase makes.
    """

    name: str
    level: Level
    evidence: str
    advice: str = ""
    phase: int | None = None
    not_yet: bool = False

    @property
    def sentence(self) -> str:
        """The evidence, so that another sentence may follow."""
        return self.evidence if self.evidence.endswith((".", "…")) else f"{self.evidence}."

    @property
    def is_problem(self) -> bool:
        """Whether somebody has to read it before the phase starts."""
        return self.level in ("blocks", "warns", "unknown")


@dataclass(frozen=True)
class Limits:
    """How patient a preflight is."""

    question: timedelta = timedelta(seconds=5)
    """The longest that one question may take; it is unknown then."""
    altogether: timedelta = timedelta(seconds=15)
    long_transaction: timedelta = timedelta(seconds=30)
    idle_transaction: timedelta = timedelta(seconds=10)


@dataclass(frozen=True)
class Scope:
    """The phase to check, and those relations of its plan that exist."""

    plan: Plan
    phase: int
    oids: list[int]
    limits: Limits = Limits()
    steps_done: int | None = None
    """How many of the phase's steps are done, where it stopped in its middle; None before it
    began."""
    declared: Plan | None = None
    """The plan with the names that it declares, where ``plan`` has those that columns have now."""

    @cached_property
    def statements(self) -> list[Statement]:
        return [
            action
            for step in self.plan.phases[self.phase].steps
            for action in self.plan.forward(step).actions
            if isinstance(action, Statement)
        ]

    @cached_property
    def passes(self) -> list[Fill | Compute]:
        return [
            action
            for step in self.plan.phases[self.phase].steps
            for action in self.plan.forward(step).actions
            if isinstance(action, Fill | Compute)
        ]

    @cached_property
    def strong_locks(self) -> list[Lock]:
        """Locks that can block others, and be blocked by them."""
        seen: dict[Lock, None] = {}
        for statement in self.statements:
            seen.update(dict.fromkeys(statement.locks))
        return [lock for lock in seen if _STRENGTH[lock.mode] >= STRONG]

    @property
    def tables(self) -> str:
        """The tables of the plan, for a sentence."""
        return ", ".join(table.label for table in self.plan.tables) or "the plan's tables"


def oids_of(connection: Connection, tables: list[str]) -> list[int]:
    """The oids of tables by label, with their partitions."""
    return [oid for oids in oids_by_label(connection, tables).values() for oid in oids]


def oids_by_label(connection: Connection, tables: list[str]) -> dict[str, list[int]]:
    """By its label, the oid of each table that exists, with those of its partitions."""
    rows = connection.execute(
        """
        SELECT {label}, array_agg(DISTINCT coalesce(p.relid, c.oid)::oid::bigint)
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          LEFT JOIN LATERAL pg_partition_tree(c.oid) AS p ON c.relkind = 'p'
         WHERE c.relkind IN ('r', 'p', 'm') AND {label} = ANY (%s)
         GROUP BY 1
        """.replace("{label}", label_sql()).encode(),
        [tables],
    ).fetchall()
    return dict(rows)


def rows(connection: Connection, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode(), parameters).fetchall()


def one_row(connection: Connection, query: str, **parameters: Any) -> tuple[Any, ...]:
    """The row of a query that has one."""
    row = connection.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return row


def seconds(span: timedelta) -> float:
    return span.total_seconds()


def size_text(size: float) -> str:
    """Two digits and a decimal unit, as disks are sold."""
    for factor, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{size / 1e3:,.0f} kB"
