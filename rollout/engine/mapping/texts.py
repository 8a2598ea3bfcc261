"""The texts of a legacy column: how often each is there, and its normal form."""

from collections.abc import Sequence
from typing import Any

from psycopg import errors, sql

from rollout.engine.lanes import leaves
from rollout.engine.target import Connection, own
from rollout.plan import facts
from rollout.plan.names import SCHEMA, in_target, normal
from rollout.plan.plan import Plan
from rollout.plan.translations import Lookup

# Maximum time that a page waits for the table's texts to be counted.
COUNT_SECONDS = 15
SAMPLE_SECONDS = 5
# 16 MB, which is some 100,000 rows, are read in a moment.
SAMPLE_BLOCKS = 2_000
EVERY_TEXT = sql.SQL("true")


def is_mapped(connection: Connection, plan: Plan, lookup: Lookup) -> bool:
    return mapped_and_decided(connection, plan, lookup)[0]


def mapped_and_decided(connection: Connection, plan: Plan, lookup: Lookup) -> tuple[bool, ...]:
    """Whether the column's texts are mapped, and whether people can have decided on any."""
    return exists(connection, lookup.mapping_name(plan.name), "decisions")


def normal_forms(connection: Connection, texts: Sequence[str]) -> dict[str, str]:
    """The normal form of each text."""
    rows = connection.execute(
        sql.SQL("SELECT t.text, {} FROM unnest(%s::text[]) AS t (text)").format(
            normal(sql.Identifier("t", "text"))
        ),
        [list(texts)],
    ).fetchall()
    return dict(rows)


def values_with(
    connection: Connection, plan: Plan, lookup: Lookup, text: str, *, most: int
) -> list[str]:
    """Mapped values that contain a text, one spelling of each, the shortest first."""
    if not is_mapped(connection, plan, lookup):
        return []
    rows = connection.execute(
        sql.SQL(
            "SELECT (array_agg(m.legacy ORDER BY length(m.legacy), m.legacy))[1]"
            " FROM {mapping} AS m WHERE position({form} IN m.normal) > 0"
            " AND {form} <> '' GROUP BY m.normal ORDER BY length(m.normal), m.normal LIMIT %s"
        ).format(
            mapping=in_target(lookup.mapping_name(plan.name)),
            form=normal(sql.SQL("{}::text").format(sql.Literal(text))),
        ),
        [most],
    ).fetchall()
    return [legacy for (legacy,) in rows]


def counts_of(
    connection: Connection,
    lookup: Lookup,
    condition: sql.Composable,
    *,
    seconds: int | None = None,
) -> dict[str, int] | None:
    """How many rows have each legacy text; None where counting takes longer than ``seconds``."""
    query = sql.SQL(
        "SELECT coalesce({legacy}, ''), count(*) FROM {table} WHERE {condition} GROUP BY 1"
    ).format(
        legacy=lookup.text(sql.Identifier(lookup.legacy)),
        table=lookup.table.identifier,
        condition=condition,
    )
    rows = _rows_within(connection, query, COUNT_SECONDS if seconds is None else seconds)
    return None if rows is None else dict(rows)


def sample_of(connection: Connection, lookup: Lookup) -> list[str]:
    """Legacy texts of rows in pages picked at random; none where even that takes too long."""
    blocks = sum(leaf.blocks for leaf in leaves(connection, lookup.table))
    query = sql.SQL(
        "SELECT DISTINCT coalesce({legacy}, '') FROM {table} TABLESAMPLE SYSTEM ({percent})"
    ).format(
        legacy=sql.Identifier(lookup.legacy),
        table=lookup.table.identifier,
        percent=sql.Literal(min(100.0, 100.0 * SAMPLE_BLOCKS / max(blocks, 1))),
    )
    return [text for (text,) in _rows_within(connection, query, SAMPLE_SECONDS) or []]


def _rows_within(
    connection: Connection, query: sql.Composed, seconds: int
) -> list[tuple[Any, ...]] | None:
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL statement_timeout = '{seconds}s'".encode())
            return connection.execute(own(query)).fetchall()
    except errors.QueryCanceled:
        return None


def exists(connection: Connection, *names: str) -> tuple[bool, ...]:
    """Whether there is each of these relations of ours."""
    there = [facts.relation_exists(sql.Identifier(SCHEMA, name)) for name in names]
    row = connection.execute(sql.SQL("SELECT {}").format(sql.SQL(", ").join(there))).fetchone()
    return row or ()
