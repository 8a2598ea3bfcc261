"""The texts of a legacy column: how often each is there, and its normal form."""

from collections.abc import Sequence

from psycopg import errors, sql

from rollout.engine.lanes import leaves
from rollout.engine.target import Connection, own
from rollout.plan import facts
from rollout.plan.names import SCHEMA, normal
from rollout.plan.plan import Plan
from rollout.plan.translations import Lookup

# Maximum time that a page waits for the table's texts to be counted.
COUNT_SECONDS = 15
SAMPLE_SECONDS = 5
# 16 MB, which is some 100,000 rows, are read in a moment.
SAMPLE_BLOCKS = 2_000
EVERY_TEXT = sql.SQL("true")


def is_mapped(connection: Connection, plan: Plan, lookup: Lookup) -> bool:
    return standing_of(connection, plan, lookup)[0]


def standing_of(connection: Connection, plan: Plan, lookup: Lookup) -> tuple[bool, ...]:
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


def counts_of(
    connection: Connection, lookup: Lookup, condition: sql.Composable
) -> dict[str, int] | None:
    """How many rows have each legacy text; None where counting takes too long."""
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL statement_timeout = '{COUNT_SECONDS}s'".encode())
            rows = connection.execute(
                own(
                    sql.SQL(
                        "SELECT coalesce({legacy}, ''), count(*) FROM {table} WHERE {condition}"
                        " GROUP BY 1"
                    ).format(
                        legacy=lookup.text(sql.Identifier(lookup.legacy)),
                        table=lookup.table.identifier,
                        condition=condition,
                    )
                )
            ).fetchall()
    except errors.QueryCanceled:
        return None
    return dict(rows)


def sample_of(connection: Connection, lookup: Lookup) -> list[str]:
    """Legacy texts of rows in pages picked at random; none where even that takes too long."""
    blocks = sum(leaf.blocks for leaf in leaves(connection, lookup.table))
    percent = min(100.0, 100.0 * SAMPLE_BLOCKS / max(blocks, 1))
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL statement_timeout = '{SAMPLE_SECONDS}s'".encode())
            rows = connection.execute(
                own(
                    sql.SQL(
                        "SELECT DISTINCT coalesce({legacy}, '') FROM {table}"
                        " TABLESAMPLE SYSTEM ({percent})"
                    ).format(
                        legacy=sql.Identifier(lookup.legacy),
                        table=lookup.table.identifier,
                        percent=sql.Literal(percent),
                    )
                )
            ).fetchall()
    except errors.QueryCanceled:
        return []
    return [text for (text,) in rows]


def exists(connection: Connection, *names: str) -> tuple[bool, ...]:
    """Whether there is each of these relations of ours."""
    there = [facts.relation_exists(sql.Identifier(SCHEMA, name)) for name in names]
    row = connection.execute(sql.SQL("SELECT {}").format(sql.SQL(", ").join(there))).fetchone()
    return row or ()
