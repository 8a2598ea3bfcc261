"""Values that do not convert, and keys in conflict: which there are, and what people decide."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from psycopg import errors, sql

from rollout.engine.catalog import columns_of
from rollout.engine.kept_names import with_names_of_now
from rollout.engine.quarantine import key_of
from rollout.engine.target import Connection, fetch_bool, install, own
from rollout.engine.typed_values import UnfitValue, as_stored
from rollout.plan import facts
from rollout.plan.conversions import Conversion
from rollout.plan.errors import RolloutError
from rollout.plan.extraction_conflicts import (
    conflicting_keys,
    hold_decided,
    is_undecided,
    of_home,
    source_of_key,
)
from rollout.plan.extractions import Extract
from rollout.plan.plan import Plan
from rollout.plan.refusals import refusal, refusal_definition, refusal_name
from rollout.plan.session_settings import ANNOUNCE
from rollout.plan.value_decisions import (
    VALUE_DECISIONS,
    decided,
    decided_definition,
    decided_name,
    decisions_about,
    source_of,
)
from rollout.plan.vocabulary_columns import VocabularyColumn

# By new column its text, null for an empty one; None takes a decision back.
Decision = Mapping[str, str | None] | None
_LOCK_TIMEOUT = "1s"


class CannotDecideValues(RolloutError):
    """Decisions that are refused. ``problems`` holds the reasons by source and column."""

    def __init__(self, problems: Mapping[str, Mapping[str, str]]) -> None:
        super().__init__(" ".join(reason for of in problems.values() for reason in of.values()))
        self.problems = dict(problems)


class DecisionsLocked(RolloutError):
    """Somebody else decides about values at the moment."""


@dataclass(frozen=True)
class UnconvertibleValue:
    """A value that does not convert, or a key in conflict, and what people decided about it.

    ``source`` are the values of the columns that a decision is about, as decisions know them;
    ``examples`` keys of rows that have it, parts joined by a comma; ``reason`` is why it does not
    convert, empty where no row has it any more. Of a key in conflict ``groups`` are those that it
    has, each with its values in the order of ``decides`` and its rows; ``rows`` are those that hold
    other values than the row of the key does, or will until somebody decides.
    """

    source: str
    rows: int
    examples: tuple[str, ...]
    reason: str
    decided: Mapping[str, str | None] | None = None
    reviewer: str = ""
    decided_at: datetime | None = None
    groups: tuple[tuple[tuple[str | None, ...], int], ...] = ()

    @cached_property
    def legacy(self) -> list[str | None]:
        """The values as texts, in the order of the conversion's ``decided_about``."""
        values: list[str | None] = json.loads(self.source)
        return values

    @property
    def text(self) -> str:
        """The values, as audits name them."""
        return ", ".join(value for value in self.legacy if value is not None)

    @cached_property
    def key(self) -> str:
        """A short name of it for forms and files."""
        return hashlib.sha256(self.source.encode()).hexdigest()[:16]

    @property
    def more(self) -> int:
        """How many rows have the value beside those whose keys are named."""
        return self.rows - len(self.examples)

    @property
    def is_open(self) -> bool:
        return self.decided is None


@dataclass(frozen=True)
class Undecided:
    """How many values or keys wait for people, in how many rows, and one of these rows' keys."""

    values: int
    rows: int
    example: str


def functions_exist(connection: Connection, plan: Plan, conversion: Conversion) -> bool:
    """Whether phase 2 has brought the functions that say which values do not convert."""
    plan, conversion = of_now(connection, plan, conversion)
    if isinstance(conversion, Extract):
        return fetch_bool(connection, facts.function_exists(conversion.decided_name))
    names = (refusal_name(conversion, plan.name), decided_name(conversion, plan.name))
    return fetch_bool(connection, facts.all_of(*map(facts.function_exists, names)))


def unconvertible_values(
    connection: Connection, plan: Plan, conversion: Conversion
) -> list[UnconvertibleValue]:
    """Every value that does not convert, those with most rows first, and every decided one.

    Raises psycopg.Error, where a legacy column is gone for instance.
    """
    plan, conversion = of_now(connection, plan, conversion)
    if isinstance(conversion, Extract):
        return _keys_in_conflict(connection, plan, conversion)
    table, name = conversion.table, plan.name
    with functions(connection, plan, conversion):
        there = columns_of(connection, plan, table)
        is_candidate: sql.Composable = sql.SQL("true")
        if there.issuperset(conversion.added):
            is_candidate = sql.SQL("({} OR {} IN (SELECT d.source FROM {} AS d WHERE {}))").format(
                _is_empty(conversion),
                source_of(conversion, "t"),
                VALUE_DECISIONS,
                decisions_about(conversion, name, "d"),
            )
        rows = connection.execute(
            own(
                sql.SQL(
                    "SELECT coalesce(v.source, d.source) AS source, coalesce(v.rows, 0) AS rows,"
                    " v.first, v.last, coalesce(v.reason, '') AS reason, d.decided,"
                    " coalesce(d.reviewer, '') AS reviewer, d.at FROM ("
                    "SELECT r.source, count(*) AS rows, min(r.key) AS first, max(r.key) AS last,"
                    " min(r.reason) AS reason FROM (SELECT {source} AS source, {key} AS key,"
                    " {reason} AS reason FROM {table} AS t WHERE {is_candidate}) AS r"
                    " WHERE r.reason IS NOT NULL GROUP BY r.source) AS v"
                    " FULL JOIN (SELECT * FROM {decisions} AS d WHERE {about}) AS d"
                    " ON d.source = v.source ORDER BY 2 DESC, 1"
                ).format(
                    source=source_of(conversion, "t"),
                    key=key_of(table),
                    reason=refusal(conversion, name, "t"),
                    table=table.identifier,
                    is_candidate=is_candidate,
                    decisions=VALUE_DECISIONS,
                    about=decisions_about(conversion, name, "d"),
                )
            )
        ).fetchall()
    return [
        UnconvertibleValue(source, number, _keys(first, last), reason, chosen, reviewer, at)
        for source, number, first, last, reason, chosen, reviewer, at in rows
    ]


def _keys_in_conflict(
    connection: Connection, plan: Plan, extract: Extract
) -> list[UnconvertibleValue]:
    """Every key with several groups of values, that with most rows first, and every decided one."""
    with connection.transaction(force_rollback=True):
        install(connection)
        keys = conflicting_keys(extract, with_rows=functions_exist(connection, plan, extract))
        rows = connection.execute(
            own(
                sql.SQL(
                    "SELECT coalesce(v.source, d.source) AS source, coalesce(v.rows, 0) AS rows,"
                    " v.first, v.last, v.groups, d.decided, coalesce(d.reviewer, '') AS reviewer,"
                    " d.at FROM ({}) AS v"
                    " FULL JOIN (SELECT * FROM {} AS d WHERE {}) AS d ON d.source = v.source"
                    " ORDER BY 2 DESC, 1"
                ).format(keys, VALUE_DECISIONS, decisions_about(extract, plan.name, "d"))
            )
        ).fetchall()
    values = []
    for source, number, first, last, listed, chosen, reviewer, at in rows:
        groups = tuple((tuple(texts), of_group) for texts, of_group in listed or ())
        reason = "; ".join(_said_of(*group) for group in groups)
        values.append(
            UnconvertibleValue(
                *(source, number, _keys(first, last), reason, chosen, reviewer, at, groups)
            )
        )
    return values


def _said_of(texts: Sequence[str | None], rows: int) -> str:
    values = ", ".join(text if text is not None else "empty" for text in texts)
    return f"{values} ({rows:,} row{'' if rows == 1 else 's'})"


def undecided_values(
    connection: Connection, plan: Plan, conversion: Conversion
) -> Undecided | None:
    """What keeps phase 3 waiting; None where phase 2 has not begun."""
    plan, conversion = of_now(connection, plan, conversion)
    if not functions_exist(connection, plan, conversion):
        return None
    if isinstance(conversion, Extract):
        waits: sql.Composable = is_undecided(conversion, "t")
        source = source_of_key(conversion, of_home(conversion, "t"))
    else:
        source = source_of(conversion, "t")
        waits = sql.SQL("{} AND {} IS NOT NULL AND {} IS NULL").format(
            _is_empty(conversion),
            refusal(conversion, plan.name, "t"),
            decided(conversion, plan.name, "t"),
        )
    row = connection.execute(
        own(
            sql.SQL(
                "SELECT count(DISTINCT r.source), count(*), min(r.key)"
                " FROM (SELECT {source} AS source, {key} AS key FROM {table} AS t"
                " WHERE {waits}) AS r"
            ).format(
                source=source,
                key=key_of(conversion.table),
                table=conversion.table.identifier,
                waits=waits,
            )
        )
    ).fetchone()
    values, rows, key = row or (0, 0, None)
    return Undecided(values, rows, ",".join(key or ()))


def decide_values(
    connection: Connection,
    plan: Plan,
    conversion: Conversion,
    decisions: Mapping[str, Decision],
    *,
    reviewer: str,
    keep: bool = True,
) -> dict[str, tuple[Decision, Decision]]:
    """Apply decisions by source in one transaction: what was decided before, and what is now.

    Only those that differ. Without ``keep`` it is rolled back: what a preview tells is what would
    be. Raises CannotDecideValues, DecisionsLocked and psycopg.Error.
    """
    install(connection)
    wanted = _checked(connection, plan, conversion, decisions)
    about = decisions_about(conversion, plan.name, "d")
    try:
        with connection.transaction(force_rollback=not keep):
            connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'".encode())
            connection.execute("LOCK TABLE rollout.value_decisions IN SHARE ROW EXCLUSIVE MODE")
            earlier: dict[str, Decision] = dict(
                connection.execute(
                    sql.SQL(
                        "SELECT d.source, d.decided FROM {} AS d WHERE {} AND d.source = ANY (%s)"
                    ).format(VALUE_DECISIONS, about),
                    [list(wanted)],
                ).fetchall()
            )
            other = {s: chosen for s, chosen in wanted.items() if earlier.get(s) != chosen}
            connection.execute(
                sql.SQL("DELETE FROM {} AS d WHERE {} AND d.source = ANY (%s)").format(
                    VALUE_DECISIONS, about
                ),
                [list(other)],
            )
            kept = {s: json.dumps(chosen) for s, chosen in other.items() if chosen is not None}
            connection.execute(
                sql.SQL(
                    "INSERT INTO {} (plan, table_label, columns, source, decided, reviewer)"
                    " SELECT %s, %s, %s, d.source, d.decided, %s"
                    " FROM unnest(%s::text[], %s::jsonb[]) AS d (source, decided)"
                ).format(VALUE_DECISIONS),
                [
                    *(plan.name, conversion.table.label, conversion.name, reviewer),
                    *(list(kept), list(kept.values())),
                ],
            )
            if isinstance(conversion, Extract) and functions_exist(connection, plan, conversion):
                # The legacy columns keep what they hold: nobody wrote these.
                connection.execute(ANNOUNCE)
                connection.execute(hold_decided(conversion, plan.name, list(kept)))
    except errors.LockNotAvailable as error:
        raise DecisionsLocked(
            "Somebody else decides about values or writes their rows. Nothing was changed. Try "
            "again in a moment."
        ) from error
    return {source: (earlier.get(source), chosen) for source, chosen in other.items()}


def _checked(
    connection: Connection, plan: Plan, conversion: Conversion, decisions: Mapping[str, Decision]
) -> dict[str, Decision]:
    """The decisions with their values as the target writes them. Raises CannotDecideValues."""
    checked: dict[str, Decision] = {}
    problems: dict[str, dict[str, str]] = defaultdict(dict)
    with connection.transaction(force_rollback=True):
        make_types(connection, plan, conversion)
        for source, decision in decisions.items():
            if decision is None:
                checked[source] = None
                continue
            stored: dict[str, str | None] = {}
            for column in conversion.decides:
                try:
                    stored[column] = as_stored(connection, conversion, column, decision.get(column))
                except UnfitValue as error:
                    problems[source][column] = str(error)
            checked[source] = stored
    if problems:
        raise CannotDecideValues(problems)
    return checked


def of_now(connection: Connection, plan: Plan, conversion: Conversion) -> tuple[Plan, Conversion]:
    """Both with the names that columns have now; decisions keep those that the plan declares."""
    now = with_names_of_now(connection, plan)
    if now is plan:
        return plan, conversion
    by_declared = dict(zip(plan.translations, now.translations, strict=True))
    of_now = by_declared.get(conversion, conversion)
    assert isinstance(of_now, Conversion)
    return now, of_now


@contextmanager
def functions(connection: Connection, plan: Plan, conversion: Conversion) -> Iterator[None]:
    """The functions of the dual write; where it is not there yet, made for as long as this."""
    with connection.transaction(force_rollback=True):
        if not functions_exist(connection, plan, conversion):
            install(connection)
            make_types(connection, plan, conversion)
            connection.execute(refusal_definition(conversion, plan.name))
            connection.execute(decided_definition(conversion, plan.name))
        yield


def make_types(connection: Connection, plan: Plan, conversion: Conversion) -> None:
    """Make the enum type of a new column, unless one of its name is there."""
    enum = conversion.enum if isinstance(conversion, VocabularyColumn) else None
    if enum is not None and not fetch_bool(connection, enum.is_there):
        connection.execute(enum.create(plan.name).sql)


def _is_empty(conversion: Conversion) -> sql.Composable:
    """SQL condition: row ``t`` has no new value."""
    return sql.SQL(" AND ").join(
        sql.SQL("{} IS NULL").format(sql.Identifier("t", column)) for column in conversion.added
    )


def _keys(*keys: Sequence[Any] | None) -> tuple[str, ...]:
    """The least and the greatest by their texts, in the order of numbers."""
    texts = dict.fromkeys(",".join(key) for key in keys if key)
    return tuple(sorted(texts, key=lambda text: (len(text), text)))
