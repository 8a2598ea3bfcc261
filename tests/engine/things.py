"""A table of things that nothing has filled, and what writes it meanwhile."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from psycopg import sql

from rollout.engine import lane_totals
from rollout.engine.target import Connection, Target
from rollout.plan import facts
from rollout.plan.actions import Lock, LockMode, Statement
from rollout.plan.transition import fill as fill_of
from tests.engine.actions import NoControl, do_until
from tests.engine.samples import BIGINT, Sample

PLAN = BIGINT.plan
FILL = fill_of(PLAN, BIGINT.table)


def add_column(sample: Sample = BIGINT) -> Statement:
    return Statement(
        sql=sql.SQL("ALTER TABLE {} ADD COLUMN extra text").format(sample.table.identifier),
        done=facts.column_exists(sample.table, "extra"),
        locks=(Lock(LockMode.ACCESS_EXCLUSIVE, sample.table.label),),
    )


def legacy_rows(target: Target, connection: Connection, rows: int) -> None:
    """A table of rows that nothing has filled, with the dual write on."""
    BIGINT.create(connection)
    # The rows of a page have room to move in, as in a table that is written to.
    connection.execute("ALTER TABLE things SET (autovacuum_enabled = off)")
    connection.execute(
        "INSERT INTO things (id, kind, state) SELECT n,"
        " (ARRAY['House', ' house', 'FLAT', 'castle', '', NULL])[1 + mod(n, 6)],"
        " (ARRAY['open', 'sold', NULL])[1 + mod(n, 3)] FROM generate_series(1, %s) AS n",
        [rows],
    )
    do_until(target, connection, PLAN, "write-both")


def unfilled(connection: Connection) -> int:
    return BIGINT.count(connection, "t.kind_id IS NULL OR t.is_open IS NULL")


def counted(connection: Connection, job: int) -> tuple[int, int]:
    """Scanned and updated rows of a job."""
    totals = lane_totals.totals(connection, job)
    return totals.scanned, totals.updated


def expire_leases(connection: Connection, job: int) -> None:
    """As if the holder had been silent for longer than a lease."""
    connection.execute(
        "UPDATE rollout.lanes SET lease_until = now() - interval '1 s' WHERE job = %s", [job]
    )


@contextmanager
def writing(target: Target, *statements: str) -> Iterator[list[int]]:
    """A writer with a connection of its own, over and over until the block ends.

    Gives a list of one number, how many rounds there were.
    """
    rounds = [0]
    failures: list[BaseException] = []
    enough = threading.Event()

    def write() -> None:
        try:
            with target.connect() as connection:
                while not enough.is_set():
                    for statement in statements:
                        connection.execute(statement.encode(), {"n": rounds[0]})
                    rounds[0] += 1
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield rounds
    finally:
        enough.set()
        thread.join()
    assert failures == []
    assert rounds[0] > 0


WRITES = (
    "INSERT INTO things (id, kind, state) VALUES (100000 + %(n)s, ' New', 'Open')",
    "UPDATE things SET kind = 'Tower' WHERE id = 1 + (%(n)s * 71) %% 6000",
    # Too wide for its page: the row moves to the end of the table, or to a hole.
    "UPDATE things SET note = repeat('wide', 400) WHERE id = 1 + (%(n)s * 37) %% 6000",
    "UPDATE things SET note = NULL WHERE id = 1 + (%(n)s * 53) %% 6000",
    "DELETE FROM things WHERE id = 1 + (%(n)s * 101) %% 6000",
)


class Between(NoControl):
    """Does something once, when a few batches are done."""

    def __init__(self, act: Callable[[], object], *, after: int = 12) -> None:
        super().__init__()
        self.act, self.left = act, after

    def raise_if_stopped(self) -> None:
        super().raise_if_stopped()
        self.left -= 1
        if self.left == 0:
            self.act()


class LetGoWhenItWaits(NoControl):
    """Ends the application's transaction as soon as the backfill says that it waits."""

    def __init__(self, app: Connection) -> None:
        super().__init__()
        self.app = app

    def report_wait(self, reason: str) -> None:
        super().report_wait(reason)
        if reason:
            self.app.execute("COMMIT")
