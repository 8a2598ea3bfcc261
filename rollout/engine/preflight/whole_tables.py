"""Statements that copy, rewrite or sort a large table in one transaction."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from rollout.engine.preflight.item import Item, Scope, rows, size_text
from rollout.engine.preflight.server import size_of
from rollout.engine.target import Connection
from rollout.plan.actions import Statement
from rollout.plan.names import SCHEMA
from rollout.plan.whole_tables import Work, work_on_whole_tables

NAME = "statements over whole tables"
# Bytes. From here on it takes minutes on a usual disk, in which vacuum cleans up nothing.
LARGE = 1_000_000_000
# From here on it is felt.
NOTICEABLE = 100_000_000

# Types without a length, or with one, whose values a longer one takes as they are.
_TEXT = re.compile(r"(?:text|varchar|character varying)(?:\((?P<length>\d+)\))?", re.IGNORECASE)


class _Finding(NamedTuple):
    size: int
    sentence: str
    is_meant: bool


def statements(connection: Connection, scope: Scope) -> Item:
    """By the size that the tables have now, partitions included."""
    found_work = sorted(_findings(connection, scope), reverse=True)
    noticeable = [finding for finding in found_work if finding.size >= NOTICEABLE]
    if not noticeable:
        return Item(NAME, "pass", "No statement works on a whole large table in one transaction.")
    refused = any(f.size >= LARGE and not f.is_meant for f in noticeable)
    return Item(
        NAME,
        "blocks" if refused else "warns",
        " ".join(dict.fromkeys(finding.sentence for finding in noticeable)),
        "It cannot be paused, and keeps vacuum from cleaning up. Use a step that works in batches, "
        "CONCURRENTLY or NOT VALID, or ranges of the key. If it is meant, write "
        "'-- rollout: whole-table' above the statement.",
    )


def _findings(connection: Connection, scope: Scope) -> Iterator[_Finding]:
    plan = scope.plan
    for step in plan.phases[scope.phase].steps:
        for action in (*plan.forward(step).actions, *plan.backward(step).actions):
            if not isinstance(action, Statement):
                continue
            for work in work_on_whole_tables(action.text):
                if work.table.startswith((f"{SCHEMA}.", f'"{SCHEMA}".')):
                    continue
                size = size_of(connection, work.table)
                if size < NOTICEABLE or not _is_over_all(connection, work):
                    continue
                yield _Finding(
                    size,
                    f"Step '{step.id}' {work.what} {work.table} ({size_text(size)}) in one "
                    "transaction.",
                    action.over_whole_table,
                )


def _is_over_all(connection: Connection, work: Work) -> bool:
    """Whether the statement leaves no part of the table out, as far as its text tells."""
    if work.range is not None:
        names = [r"ctid", *_key(connection, work.table)]
        return not re.search(rf'(?<![\w"])"?(?:{"|".join(names)})(?![\w])', work.range, re.I)
    return not work.retyped or any(
        not _is_as_it_was(connection, work.table, column, type_) for column, type_ in work.retyped
    )


def _key(connection: Connection, table: str) -> list[str]:
    """Regular expressions of the names of the key's columns."""
    names = rows(
        connection,
        """
        SELECT a.attname FROM pg_index AS x
          JOIN pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = ANY (x.indkey)
         WHERE x.indrelid = to_regclass(%(table)s) AND x.indisprimary
        """,
        table=table,
    )
    return [re.escape(name.replace('"', '""')) for (name,) in names]


def _is_as_it_was(connection: Connection, table: str, column: str, type_: str) -> bool:
    """Whether the new type takes the column's values without a rewrite: a text of more length."""
    new = _TEXT.fullmatch(type_.strip())
    old = rows(
        connection,
        """
        SELECT format_type(atttypid, atttypmod) FROM pg_attribute
         WHERE attrelid = to_regclass(%(table)s)
           AND attname = (parse_ident(%(column)s))[1]
        """,
        table=table,
        column=column,
    )
    was = _TEXT.fullmatch(old[0][0]) if old else None
    if new is None or was is None:
        return False
    return new["length"] is None or (
        was["length"] is not None and int(new["length"]) >= int(was["length"])
    )
