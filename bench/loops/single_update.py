"""One UPDATE of the whole table, or of its first blocks."""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql

from bench.loops.base import Bounds, Copy, Run, Stopwatch, Work


@contextmanager
def single_update(copy: Copy) -> Iterator[Run]:
    with copy.database.connect() as connection:

        def run(bounds: Bounds) -> Work:
            condition: sql.Composable = sql.SQL("true")
            if bounds.rows < copy.rows:
                row = connection.execute(
                    "SELECT pg_relation_size('listings') / 8192 * %s / %s",
                    [bounds.rows, copy.rows],
                ).fetchone()
                assert row is not None
                condition = sql.SQL("t.ctid < {}::tid").format(sql.Literal(f"({row[0]},0)"))
            watch = Stopwatch(bounds)
            watch.rows = connection.execute(copy.fill.update(condition)).rowcount
            return watch.work()

        yield run
