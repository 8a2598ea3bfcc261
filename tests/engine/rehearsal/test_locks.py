"""Which locks of the engine a rehearsal writes down."""

from threading import Event, Thread

from rollout.engine.rehearsal.locks import Pace, Seen, watch
from rollout.engine.target import Connection, Target
from tests.support.processes import wait_until

VIEW = """
CREATE TABLE looked_at (id int);
CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM looked_at;
CREATE UNIQUE INDEX ON counted (n)
"""


def test_a_view_that_is_refreshed_beside_its_readers_keeps_nobody_from_anything(
    target: Target, connection: Connection
) -> None:
    connection.execute(VIEW)
    seen: list[Seen] = []
    pace, stop = Pace(), Event()
    with target.connect() as watching:
        watcher = Thread(target=watch, args=(watching, stop, seen.append, pace))
        watcher.start()
        try:
            with connection.transaction():
                connection.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY counted")
                connection.execute("LOCK TABLE looked_at IN SHARE MODE")
                looked = pace.looks
                wait_until(lambda: pace.looks > looked + 2)
            wait_until(lambda: bool(seen))
        finally:
            stop.set()
            watcher.join()
    assert {(lock.table, lock.mode) for lock in seen} == {("looked_at", "ShareLock")}
