"""Batches of 1000 keys, locked and written back unchanged, so that the trigger computes.

The loop of migration tools that install a trigger and let every row pass through it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql

from bench.loops.base import BATCH, Bounds, Copy, Run, Stopwatch, Work

TOUCH = """
WITH batch AS MATERIALIZED
  (SELECT id FROM listings {after}ORDER BY id LIMIT {size} FOR NO KEY UPDATE),
touched AS (UPDATE listings AS t SET id = t.id FROM batch WHERE t.id = batch.id RETURNING t.id)
SELECT count(*), (SELECT id FROM batch ORDER BY id DESC LIMIT 1) FROM touched
"""


@contextmanager
def trigger_touch(copy: Copy) -> Iterator[Run]:
    first, following = (
        sql.SQL(TOUCH).format(after=sql.SQL(after), size=sql.Literal(BATCH))
        for after in ("", "WHERE id > %s ")
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
