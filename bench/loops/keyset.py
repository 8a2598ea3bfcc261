"""Batches of 1000 by primary key, each one set-based statement: the loop of most batch tools."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from psycopg import sql

from bench.loops.base import BATCH, Bounds, Copy, Run, Stopwatch, Work

FIRST = sql.SQL(
    "WITH batch AS MATERIALIZED (SELECT id FROM listings ORDER BY id LIMIT {size}),"
    " written AS ({update} RETURNING 1)"
    " SELECT count(*), (SELECT id FROM batch ORDER BY id DESC LIMIT 1) FROM batch"
)
NEXT = sql.SQL(
    "WITH batch AS MATERIALIZED"
    " (SELECT id FROM listings WHERE id > %s ORDER BY id LIMIT {size}),"
    " written AS ({update} RETURNING 1)"
    " SELECT count(*), (SELECT id FROM batch ORDER BY id DESC LIMIT 1) FROM batch"
)


@contextmanager
def keyset(copy: Copy) -> Iterator[Run]:
    fill = copy.fill
    of_batch = replace(
        fill,
        joins=(sql.SQL("batch AS b"), *fill.joins),
        matches=(sql.SQL("t.id = b.id"), *fill.matches),
    ).update(sql.SQL("true"))
    first, following = (
        statement.format(size=sql.Literal(BATCH), update=of_batch) for statement in (FIRST, NEXT)
    )
    with copy.database.connect() as connection:

        def run(bounds: Bounds) -> Work:
            watch = Stopwatch(bounds)
            batch = connection.execute(first).fetchone()
            while batch is not None and batch[0]:
                watch.rows += batch[0]
                if not watch.goes_on:
                    break
                batch = connection.execute(following, [batch[1]]).fetchone()
            return watch.work()

        yield run
