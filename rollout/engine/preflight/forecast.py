"""Which locks a phase takes, for how long about, and who would wait for them if it began now."""

import re
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import ClassVar

import psycopg
from psycopg import sql

from rollout.engine.ddl import MAX_LOCK_TIMEOUT_SECONDS
from rollout.engine.preflight.item import oids_by_label, oids_of, one_row, rows
from rollout.engine.target import APPLICATION_NAME, Connection, facts_now
from rollout.plan.actions import Compute, Fill, Lock, LockMode, Statement, StepActions
from rollout.plan.plan import Step
from rollout.plan.table import label_sql

# The modes of others that each mode waits for.
_CONFLICTS: dict[LockMode, tuple[str, ...]] = {
    LockMode.ACCESS_EXCLUSIVE: tuple(LockMode.__members__),
    LockMode.EXCLUSIVE: tuple(m for m in LockMode.__members__ if m != "ACCESS_SHARE"),
    LockMode.SHARE_ROW_EXCLUSIVE: tuple(
        m for m in LockMode.__members__ if m not in ("ACCESS_SHARE", "ROW_SHARE")
    ),
    LockMode.SHARE: (
        *("ROW_EXCLUSIVE", "SHARE_UPDATE_EXCLUSIVE", "SHARE_ROW_EXCLUSIVE"),
        *("EXCLUSIVE", "ACCESS_EXCLUSIVE"),
    ),
    LockMode.SHARE_UPDATE_EXCLUSIVE: (
        *("SHARE_UPDATE_EXCLUSIVE", "SHARE", "SHARE_ROW_EXCLUSIVE"),
        *("EXCLUSIVE", "ACCESS_EXCLUSIVE"),
    ),
    LockMode.ROW_EXCLUSIVE: ("SHARE", "SHARE_ROW_EXCLUSIVE", "EXCLUSIVE", "ACCESS_EXCLUSIVE"),
    LockMode.ROW_SHARE: ("EXCLUSIVE", "ACCESS_EXCLUSIVE"),
    LockMode.ACCESS_SHARE: ("ACCESS_EXCLUSIVE",),
}

_CREATES = re.compile(
    r"\bCREATE\s+(?:UNLOGGED\s+)?(?:TABLE|MATERIALIZED\s+VIEW)\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    r'((?:"[^"]+"|\w+)(?:\s*\.\s*(?:"[^"]+"|\w+))?)',
    re.IGNORECASE,
)

SAMPLE_BLOCKS = 2000
BRIEFLY = "milliseconds"
IN_BATCHES = "milliseconds per batch"
# At most so many sessions are named beside a lock.
MAX_SESSIONS = 5


@dataclass(frozen=True)
class Session:
    """A transaction that is open on a table now."""

    pid: int
    application: str
    state: str
    seconds: int
    query: str

    def __str__(self) -> str:
        return f"PID {self.pid} ({self.name}, {self.state}, open for {self.seconds:,} s)"

    @property
    def name(self) -> str:
        is_own = self.application == APPLICATION_NAME
        return "Rollout's own audit, snapshot or run" if is_own else self.application


# A session, and the relations that it holds locks on, each with the lock's mode.
Holder = tuple[Session, list[tuple[int, str]]]


@dataclass(frozen=True)
class LockForecast:
    """Locks that a step takes together, ``times`` times over.

    ``in_the_way`` are the transactions that hold what this lock has to wait for, and that would
    have waited had it come first. ``applied`` statements are not run again.
    """

    step: str
    description: str
    mode: LockMode
    tables: tuple[str, ...]
    hold: str
    hold_seconds: float | None = None
    rows: int | None = None
    applied: bool = False
    times: int = 1
    in_the_way: list[Session] = field(default_factory=list)
    rehearsed_ms: float | None = None
    """How long the lock was held in a rehearsal with ``rehearsed_rows`` rows."""
    rehearsed_below_ms: float | None = None
    """It was held in a rehearsal, for so short a time that nobody saw it."""
    rehearsed_rows: int | None = None

    longest_wait: ClassVar = timedelta(seconds=MAX_LOCK_TIMEOUT_SECONDS)
    """For the lock, in one attempt."""

    @property
    def blocks(self) -> str:
        return self.mode.blocks

    @property
    def harmless(self) -> bool:
        """Whether the application can read and write while it is held."""
        return self.mode in (
            LockMode.ACCESS_SHARE,
            LockMode.ROW_SHARE,
            LockMode.ROW_EXCLUSIVE,
            LockMode.SHARE_UPDATE_EXCLUSIVE,
        )

    @property
    def longest(self) -> int | None:
        """Age in seconds of the oldest blocking transaction."""
        return max((session.seconds for session in self.in_the_way), default=None)


@dataclass(frozen=True)
class _Size:
    rows: int
    scan_seconds: float


class Forecaster:
    """Asks each thing of the server once, for all steps, however many of them lock a table.

    Give it the steps in the order in which they run: nobody can wait for a table that one of them
    creates, so locks on such a table are left out.
    """

    def __init__(self, connection: Connection, steps: Sequence[tuple[Step, StepActions]]) -> None:
        self._connection = connection
        self._steps = steps
        self._sizes: dict[str, _Size | None] = {}
        self._created: set[str] = set()

    def locks(self) -> list[LockForecast]:
        """The locks of the steps, in the order in which they are taken."""
        return [lock for step, actions in self._steps for lock in self._of_step(step, actions)]

    def _of_step(self, step: Step, step_actions: StepActions) -> list[LockForecast]:
        forecasts: list[LockForecast] = []
        for action in step_actions.actions:
            if isinstance(action, Statement):
                if self._is_run(action):
                    forecasts += self._of_statement(step, action)
            elif isinstance(action, Fill | Compute):
                tables = (action.table.label,)
                forecasts.append(
                    self._forecast(step, LockMode.ROW_EXCLUSIVE, tables, hold=IN_BATCHES)
                )
        return _counted(forecasts)

    def _is_run(self, statement: Statement) -> bool:
        return statement.is_for(self._connection.info.server_version)

    def _of_statement(self, step: Step, statement: Statement) -> list[LockForecast]:
        applied = statement.done is not None and self._facts[statement.done.as_string()]
        self._created |= {label for label in _created_by(statement) if not self._oids.get(label)}
        together: dict[LockMode, list[str]] = {}
        linked = (lock for link in statement.links for lock in self._linked[link.as_string()])
        for lock in dict.fromkeys((*statement.locks, *linked)):
            if lock.table not in self._created:
                together.setdefault(lock.mode, []).append(lock.table)
        return [
            self._forecast(step, mode, tuple(tables), statement=statement, applied=applied)
            for mode, tables in together.items()
        ]

    def _forecast(
        self,
        step: Step,
        mode: LockMode,
        tables: tuple[str, ...],
        *,
        hold: str = BRIEFLY,
        statement: Statement | None = None,
        applied: bool = False,
    ) -> LockForecast:
        seconds = rows_ = None
        if statement is not None and statement.scans:
            size = self._size(statement.locks[0].table)
            hold = "for a full table scan"
            if size is not None:
                seconds, rows_ = size.scan_seconds * statement.scans, size.rows
        return LockForecast(
            step.id,
            step.description,
            mode,
            tables,
            hold,
            seconds,
            rows_,
            applied,
            in_the_way=[] if applied else self._in_the_way(mode, tables),
        )

    def _in_the_way(self, mode: LockMode, tables: Sequence[str]) -> list[Session]:
        oids = {oid for label in tables for oid in self._oids.get(label, ())}
        return _in_the_way(self._holders, mode, oids)

    @cached_property
    def _facts(self) -> dict[str, bool]:
        """By its text, what is so of that which statements ask before they run."""
        return facts_now(self._connection, [s.done for s in self._statements if s.done is not None])

    @cached_property
    def _oids(self) -> dict[str, list[int]]:
        """By their labels, the tables that steps lock or create, with their partitions."""
        labels = {lock.table for _, actions in self._steps for lock in actions.locks}
        labels |= {lock.table for locks in self._linked.values() for lock in locks}
        labels |= {label for statement in self._statements for label in _created_by(statement)}
        return oids_by_label(self._connection, sorted(labels))

    @cached_property
    def _linked(self) -> dict[str, list[Lock]]:
        """By its text, the locks that each query of the statements' links gives."""
        links = {link.as_string(): link for s in self._statements for link in s.links}
        try:
            return self._locks_of(links)
        except psycopg.errors.UndefinedTable:
            # Before phase 0 nothing is kept for a rollback; the other queries give theirs.
            locks: dict[str, list[Lock]] = {text: [] for text in links}
            for text, link in links.items():
                with suppress(psycopg.errors.UndefinedTable):
                    locks |= self._locks_of({text: link})
            return locks

    def _locks_of(self, links: Mapping[str, sql.Composed]) -> dict[str, list[Lock]]:
        locks: dict[str, list[Lock]] = {text: [] for text in links}
        if not links:
            return locks
        union = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT {} AS number, l.* FROM ({}) AS l").format(sql.Literal(number), link)
            for number, link in enumerate(links.values())
        )
        with self._connection.transaction():
            rows_of_links = self._connection.execute(
                sql.SQL(_LINKED_TABLES).format(links=union)
            ).fetchall()
        texts = list(links)
        for number, mode, label in rows_of_links:
            locks[texts[number]].append(Lock(LockMode(mode), label))
        return locks

    @cached_property
    def _holders(self) -> list[Holder]:
        oids = {oid for of_table in self._oids.values() for oid in of_table}
        return holders_of(self._connection, oids)

    @property
    def _statements(self) -> list[Statement]:
        """Those that this server runs."""
        return [
            action
            for _, actions in self._steps
            for action in actions.actions
            if isinstance(action, Statement) and self._is_run(action)
        ]

    def _size(self, label: str) -> _Size | None:
        if label not in self._sizes:
            try:
                with self._connection.transaction():
                    self._sizes[label] = _measure(self._connection, label)
            except psycopg.DatabaseError:
                self._sizes[label] = None
        return self._sizes[label]


_LINKED_TABLES = """
SELECT DISTINCT links.number, links.mode, {label} AS label FROM ({links}) AS links
  JOIN pg_class AS c ON c.oid = links.relation JOIN pg_namespace AS n ON n.oid = c.relnamespace
 ORDER BY 1, 2, 3
""".replace("{label}", label_sql())


def _created_by(statement: Statement) -> set[str]:
    """The tables that a statement's SQL creates."""
    return {_label(name) for name in _CREATES.findall(statement.text)}


def _label(name: str) -> str:
    """A table's name in SQL as plans write it: without quotes, and without the schema public."""
    parts = re.findall(r'"[^"]+"|\w+', name)
    plain = [part[1:-1] if part[0] == '"' else part.lower() for part in parts]
    return ".".join(plain).removeprefix("public.")


def _counted(locks: list[LockForecast]) -> list[LockForecast]:
    """Each lock of a step once, in the order in which it is first taken."""
    times: dict[tuple[object, ...], list[LockForecast]] = {}
    for lock in locks:
        key = (lock.mode, lock.tables, lock.hold, lock.hold_seconds, lock.applied)
        times.setdefault(key, []).append(lock)
    return [replace(same[0], times=len(same)) for same in times.values()]


def _measure(connection: Connection, label: str) -> _Size | None:
    """Rows by the statistics, and the time of a scan from that of the first blocks."""
    parts = rows(
        connection,
        """
        SELECT n.nspname, c.relname, greatest(c.reltuples, 0)::bigint,
               pg_relation_size(c.oid) / current_setting('block_size')::int
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.oid = ANY (%(oids)s::oid[]) AND c.relkind = 'r' ORDER BY 4 DESC
        """,
        oids=oids_of(connection, [label]),
    )
    blocks = sum(part[3] for part in parts)
    if not parts or not blocks:
        return _Size(0, 0.0)
    schema, name, _, first_blocks = parts[0]
    sampled = min(SAMPLE_BLOCKS, first_blocks)
    began = time.perf_counter()
    connection.execute(
        sql.SQL("SELECT count(*) FROM {} WHERE ctid < {}").format(
            sql.Identifier(schema, name), sql.Literal(f"({sampled},0)")
        )
    )
    took = time.perf_counter() - began
    return _Size(sum(part[2] for part in parts), took * blocks / sampled)


_HOLDERS = """
SELECT a.pid, coalesce(nullif(a.application_name, ''), 'unnamed application'),
       coalesce(a.state, 'unknown'),
       coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::int,
       coalesce(left(regexp_replace(a.query, '\\s+', ' ', 'g'), 80), ''),
       h.relations, h.modes
  FROM (SELECT l.pid, array_agg(l.relation::bigint) AS relations, array_agg(l.mode) AS modes
          FROM pg_locks l
         WHERE l.granted AND l.locktype = 'relation' AND l.relation = ANY (%(oids)s::oid[])
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
         GROUP BY l.pid) AS h
  JOIN pg_stat_activity a ON a.pid = h.pid
 WHERE a.pid <> pg_backend_pid()
 ORDER BY a.xact_start NULLS LAST
"""


def holders_of(connection: Connection, oids: Collection[int]) -> list[Holder]:
    """Transactions that hold locks on some of the relations, the oldest first."""
    try:
        with connection.transaction():
            holders = rows(connection, _HOLDERS, oids=list(oids))
    except psycopg.DatabaseError:
        return []
    return [
        (Session(*session), list(zip(relations, modes, strict=True)))
        for *session, relations, modes in holders
    ]


def _in_the_way(holders: Sequence[Holder], mode: LockMode, oids: Collection[int]) -> list[Session]:
    """Those that hold a lock on one of the relations which the mode does not go with."""
    modes = {_catalog_name(LockMode[name]) for name in _CONFLICTS[mode]}
    sessions = [
        session
        for session, locks in holders
        if any(oid in oids and held in modes for oid, held in locks)
    ]
    return sessions[:MAX_SESSIONS]


def _catalog_name(mode: LockMode) -> str:
    """How pg_locks writes a mode."""
    return "".join(word.capitalize() for word in mode.value.split()) + "Lock"


def longest_transaction(connection: Connection) -> int:
    """Seconds that the oldest transaction of the database has been open."""
    (age,) = one_row(
        connection,
        """
        SELECT coalesce(extract(epoch FROM clock_timestamp() - min(xact_start)), 0)::int
          FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()
           AND backend_type = 'client backend'
        """,
    )
    return int(age)
