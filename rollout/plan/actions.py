"""What steps are made of. An action says what to do; the engine knows how."""

from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import ClassVar, Literal

from psycopg import sql
from psycopg.sql import Composable, Composed

from rollout.plan.copies import Copy
from rollout.plan.hazards import Hazard
from rollout.plan.proofs import Proof
from rollout.plan.session_settings import ANNOUNCE
from rollout.plan.table import Table
from rollout.plan.updates import Assignment, left_joins, update, update_of_met


class LockMode(Enum):
    """PostgreSQL's table lock modes, weakest first; the value is the name the manual uses."""

    ACCESS_SHARE = "ACCESS SHARE"
    ROW_SHARE = "ROW SHARE"
    ROW_EXCLUSIVE = "ROW EXCLUSIVE"
    SHARE_UPDATE_EXCLUSIVE = "SHARE UPDATE EXCLUSIVE"
    SHARE = "SHARE"
    SHARE_ROW_EXCLUSIVE = "SHARE ROW EXCLUSIVE"
    EXCLUSIVE = "EXCLUSIVE"
    ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"

    @property
    def blocks(self) -> str:
        """What other sessions cannot do while the lock is held."""
        if self is LockMode.ACCESS_EXCLUSIVE:
            return "reads and writes"
        if self in (LockMode.SHARE, LockMode.SHARE_ROW_EXCLUSIVE, LockMode.EXCLUSIVE):
            return "writes"
        return "nothing the application does"


NO_END = 1000
EVERY_SERVER = (0, NO_END)


@dataclass(frozen=True)
class Lock:
    """A lock that a statement takes on a table of the application."""

    mode: LockMode
    table: str


@dataclass(frozen=True, kw_only=True)
class Statement:
    """SQL whose result the catalog shows.

    ``done`` is a query of one boolean: it is asked before, so that a statement already applied is
    skipped, and after, so that one that only seemed to succeed is found out. ``None``: run again.
    ``long`` statements wait for others without a lock timeout and run outside a transaction.
    ``scans`` says how many times it reads the whole of the first table that it locks.
    ``servers`` are PostgreSQL's major versions that it is for, from the first up to the second.
    ``generates``: its SQL is a query whose rows are statements, each run as this one says.
    ``lookup_label`` is the lookup table that it makes rows of, which may refuse them.
    ``over_whole_table`` says that it is meant to work on a whole table in one transaction.
    ``refused_by`` asks which rows of the application stand in its way, when some do.
    ``links`` are queries of the modes and OIDs of tables that it locks because of foreign keys.
    """

    sql: Composed
    done: Composable | None
    locks: tuple[Lock, ...] = ()
    long: bool = False
    scans: int = 0
    servers: tuple[int, int] = EVERY_SERVER
    generates: bool = False
    lookup_label: str = ""
    over_whole_table: bool = False
    refused_by: Hazard | None = None
    links: tuple[Composed, ...] = ()

    @cached_property
    def text(self) -> str:
        return self.sql.as_string()

    def is_for(self, server_version: int) -> bool:
        """Whether a server of that version, as libpq numbers it, runs it."""
        first, end = self.servers
        return first <= server_version // 10_000 < end

    @property
    def said_servers(self) -> str:
        """The servers that it is for, as people say it; empty for every one."""
        first, end = self.servers
        if self.servers == EVERY_SERVER:
            return ""
        return f"PostgreSQL {first} and newer" if end >= NO_END else f"PostgreSQL before {end}"


def _confined(condition: sql.Composable, only: sql.Composable | None) -> sql.Composable:
    return condition if only is None else sql.SQL("({} AND {})").format(condition, only)


@dataclass(frozen=True, kw_only=True)
class Fill:
    """Bring columns of every row to their right value, in short batches while writers continue.

    ``joins`` are FROM items of which each row meets exactly one row by ``matches``; a row that
    meets none is left as it is. ``trial_joins`` stand in for them, each of one row, where a pass is
    only tested, as do ``trial_assignments``: what they name may not be there yet. Of the rows that
    the database refuses, ``poison_share`` may be put in quarantine, and 50 in any case; with more
    the pass stops. With ``only``, a condition on row ``t`` and the joins, it leaves all others
    alone. ``named``, a condition that an index serves, confines it to a few blocks. ``source`` is a
    table of the engine's own that the values are read from, and that goes later. ``keeps`` are
    columns that a pass on the way back must leave as they are: a batch is rolled back unless each
    row has the same values in them after it. Such a pass writes a row whether or not it meets the
    joins, and may put no row in quarantine for good. ``careful`` asks first of each row whether it
    raises, as ``refused`` does; ``raises`` is SQL of aggregates that raise where that is so of any
    row, or None if no SQL does that. ``spared`` is written of a row in quarantine. While the
    tables ``groups`` are there, ``joined`` reads all of them, and ``looked_up`` a row at a time.
    ``swept`` is for the query of what is left, with more joins ``beside``.
    """

    kind: Literal["fill", "default", "clear", "restore", "repair"]
    table: Table
    assignments: tuple[Assignment, ...]
    joins: tuple[sql.Composable, ...] = ()
    matches: tuple[sql.Composable, ...] = ()
    trial_joins: tuple[sql.Composable, ...] = ()
    trial_assignments: tuple[Assignment, ...] = ()
    poison_share: float = 0.01
    only: sql.Composable | None = None
    named: sql.Composable | None = None
    source: sql.Identifier | None = None
    keeps: tuple[str, ...] = ()
    careful: "Fill | None" = None
    spared: tuple[Assignment, ...] = ()
    refused: sql.Composable | None = None
    raises: sql.Composable | None = None
    joined: "Fill | None" = None
    looked_up: "Fill | None" = None
    swept: "Fill | None" = None
    beside: tuple[sql.Composable, ...] = ()
    groups: tuple[sql.Identifier, ...] = ()

    @property
    def wrong(self) -> sql.Composable:
        """SQL condition: at least one column of row ``t`` is not at its right value."""
        differs = sql.SQL("({})").format(sql.SQL(" OR ").join(a.differs for a in self.assignments))
        return _confined(differs, self.only)

    @property
    def joins_apart(self) -> tuple[sql.Composable, ...]:
        """The joins, with one more where ``wrong`` is over the row alone.

        All conditions over a row alone are asked at once: every column that any of them needs is
        taken out of each row that is read, of which a stripe leaves most out. Those over a join too
        are asked of the others.
        """
        if self._joins_ask:
            return self.joins
        return (*self.joins, sql.SQL("(SELECT true AS met OFFSET 0) AS apart"))

    @property
    def wrong_apart(self) -> sql.Composable:
        """The condition ``wrong``, to be asked of those rows that meet the others."""
        if self._joins_ask:
            return self.wrong
        return sql.SQL("CASE WHEN apart.met THEN {} END").format(self.wrong)

    @property
    def _joins_ask(self) -> bool:
        """Whether the condition ``wrong`` is over the joins."""
        return self.joins != () and all(a.unless is None for a in self.assignments)

    @property
    def guarded(self) -> "Fill":
        """The same pass, of rows of which some may raise, in whatever statement."""
        return self.careful or self

    @property
    def left_joins(self) -> sql.Composable:
        """The joins as LEFT JOINs on row ``t``, for queries that are to see every row."""
        return left_joins(self.joins, self.matches)

    def update(
        self,
        condition: sql.Composable,
        *,
        relation: sql.Identifier | None = None,
        since: sql.Composable | None = None,
        apart: bool = True,
    ) -> sql.Composed:
        """The UPDATE of those rows that meet a condition and are not already right.

        ``relation`` is the partition that holds them, where the table has partitions. A pass that
        keeps columns reads each row first, as ``met``: what it keeps as ``kept``, and ``since``,
        handed on.
        """
        relation = relation or self.table.identifier
        if not self.keeps:
            joins, wrong = (
                (self.joins_apart, self.wrong_apart) if apart else (self.joins, self.wrong)
            )
            return update(relation, self.assignments, joins, (condition, *self.matches, wrong))
        return update_of_met(
            *(relation, self.assignments, self.joins, self.matches, condition, self.wrong),
            kept=self._row_of_kept,
            since=since or sql.SQL("false"),
        )

    @property
    def _row_of_kept(self) -> sql.Composable:
        """SQL of the columns that row ``t`` is to keep, as one record."""
        kept = [sql.Identifier("t", c) for c in dict.fromkeys((*self.table.key, *self.keeps))]
        return sql.SQL("ROW({})").format(sql.SQL(", ").join(kept))

    @property
    def is_kept(self) -> sql.Composable:
        """SQL of whether an updated row ``t`` has kept what it had as ``met``."""
        # By their bytes: a collation may take texts for equal that differ, and json has no "=".
        return sql.SQL("record_image_eq(met.kept, {})").format(self._row_of_kept)

    def unfilled(self, except_for: sql.Composable) -> sql.Composed:
        """A query of one number: the rows of which ``except_for`` holds and ``left_unfilled``."""
        if self.swept is not None:
            return self.swept.unfilled(except_for)
        # In this order: of a row that is kept aside the value may not be read.
        return sql.SQL("SELECT count(*) FROM {} AS t{}{} WHERE CASE WHEN {} THEN {} END").format(
            self.table.identifier,
            self.left_joins,
            sql.SQL("").join(self.beside),
            except_for,
            self.left_unfilled,
        )

    @property
    def left_unfilled(self) -> sql.Composable:
        """SQL condition: row ``t`` is not right, or meets a join not at all."""
        unmet = [sql.SQL(" OR ({}) IS NOT TRUE").format(m) for m in self.matches * (not self.keeps)]
        return _confined(sql.SQL("({}{})").format(self.wrong, sql.SQL("").join(unmet)), self.only)

    def with_constants(self) -> "Fill":
        """The same pass with constants for its joins: to be tested and rolled back."""
        own = self.trial_assignments or self.assignments
        return replace(self, assignments=own, joins=self.trial_joins, matches=(), only=None)

    @cached_property
    def text(self) -> str:
        update = self.update(sql.SQL("/* rows of the batch */ true"), apart=False)
        return sql.SQL("{};\n{}").format(ANNOUNCE, update).as_string()


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Have a Python function compute columns of every row in which one of them is null.

    ``function`` is the dotted path of ``function(rows)``: it takes a sequence of mappings of the
    columns in ``reads`` and answers with as many mappings of ``columns``, or exceptions for the
    rows that it has no answer for. With ``only``, a condition on row ``t``, it computes no other.
    """

    kind: ClassVar[str] = "compute"
    table: Table
    columns: tuple[str, ...]
    reads: tuple[str, ...]
    function: str
    poison_share: float = 0.01
    only: sql.Composable | None = None
    named: sql.Composable | None = None

    @property
    def wrong(self) -> sql.Composable:
        """SQL condition: a computed column of row ``t`` is null."""
        empty = sql.SQL("({})").format(
            sql.SQL(" OR ").join(
                sql.SQL("{} IS NULL").format(sql.Identifier("t", column)) for column in self.columns
            )
        )
        return _confined(empty, self.only)

    @property
    def sources(self) -> sql.Composable:
        """SQL of the columns read, as one text: whether it is another tells a change of any."""
        return sql.SQL("ROW({})::text").format(
            sql.SQL(", ").join(sql.Identifier("t", column) for column in self.reads)
        )

    def update_one(self, relation: sql.Identifier) -> sql.Composed:
        """The UPDATE of one row; parameters are columns, key and the ``sources`` it had."""
        return sql.SQL("UPDATE {} AS t SET {} WHERE {}").format(
            relation,
            sql.SQL(", ").join(
                sql.SQL("{} = %s").format(sql.Identifier(column)) for column in self.columns
            ),
            sql.SQL(" AND ").join(
                [
                    # The key's text takes the column's type, so that its index is used.
                    sql.SQL("{} = %s").format(sql.Identifier("t", column))
                    for column in self.table.key
                ]
                + [sql.SQL("{} = %s").format(self.sources), self.wrong]
            ),
        )

    def unfilled(self, except_for: sql.Composable) -> sql.Composed:
        """A query of one number: the rows ``t`` left to compute that meet a condition."""
        return sql.SQL("SELECT count(*) FROM {} AS t WHERE {} AND {}").format(
            self.table.identifier, self.wrong, except_for
        )

    @property
    def text(self) -> str:
        reads, columns = ", ".join(self.reads), ", ".join(self.columns)
        return f"-- {self.function}({reads}) for each row gives: {columns}"


@dataclass(frozen=True)
class Audit:
    """Compare every row's new values with what its legacy values say; mismatches fail the step."""


@dataclass(frozen=True)
class Probe:
    """Carry out one of the application's flows in a transaction that is rolled back.

    ``flow`` is the dotted path of a function ``flow(*, using: str) -> str`` that answers with one
    sentence of evidence and raises when the flow does not work.
    """

    flow: str


@dataclass(frozen=True)
class CompareSchema:
    """Compare the live tables with what the plan expects at this point; drift fails the step."""


# Goes over every row of a table, in lanes and batches.
Pass = Fill | Compute | Proof | Copy
Action = Statement | Pass | Audit | Probe | CompareSchema


@dataclass(frozen=True)
class StepActions:
    """The actions of a step in one direction, and what they cost."""

    actions: tuple[Action, ...] = field(default=())

    @property
    def locks(self) -> tuple[Lock, ...]:
        seen: dict[Lock, None] = {}
        for action in self.actions:
            if isinstance(action, Statement):
                seen.update(dict.fromkeys(action.locks))
            elif isinstance(action, Fill | Compute):
                seen[Lock(LockMode.ROW_EXCLUSIVE, action.table.label)] = None
        return tuple(seen)
