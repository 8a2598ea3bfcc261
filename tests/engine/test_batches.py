"""The pass that brings legacy texts back: what a batch costs, and whom it leaves alone."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg import sql

from rollout.engine import batches
from rollout.engine.batches import Counts, Range
from rollout.engine.target import Connection, Target, own_transaction
from rollout.plan.actions import Fill
from rollout.plan.archives import archive_name
from tests.engine.actions import (
    act,
    claimed,
    do_phase,
    new_job,
    run_fill,
    wait_until_somebody_waits,
)
from tests.engine.rollbacks import PLAN, carried_over, rows_of, way_back
from tests.engine.samples import BIGINT

EVERY_ROW = Range(blocks=sql.SQL("true"), stripe=sql.SQL("true"), first=True)


@pytest.fixture
def restore(target: Target, connection: Connection) -> Fill:
    """The pass, with everything done that precedes it."""
    carried_over(target, connection)
    do_phase(target, connection, PLAN, 4)
    for action in way_back():
        if isinstance(action, Fill):
            return action
        act(target, connection, PLAN, 4, action)
    raise AssertionError("the way back has no pass")


def test_a_batch_looks_into_the_archive_once_for_each_row_and_locks_none_before_it_writes(
    restore: Fill, connection: Connection
) -> None:
    plan = connection.execute(
        sql.SQL("EXPLAIN (COSTS off) {}").format(restore.update(sql.SQL("true")))
    ).fetchall()
    lines = [line for (line,) in plan]
    archive = archive_name(PLAN, BIGINT.table)
    assert len([line for line in lines if archive in line and " on " in line]) == 1
    assert not [line for line in lines if "LockRows" in line]


def test_the_text_that_a_lookup_row_is_written_as_is_asked_only_where_the_archive_has_none(
    restore: Fill, connection: Connection
) -> None:
    with own_transaction(connection):
        plan = connection.execute(
            sql.SQL("EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) {}").format(
                restore.update(sql.SQL("true"))
            )
        ).fetchall()
    lines = [line for (line,) in plan]
    scans = [line for line in lines if "kinds" in line and "Scan" in line]
    assert scans
    assert all("never executed" in line for line in scans)


def test_a_row_that_somebody_else_is_writing_is_theirs(
    restore: Fill, target: Target, connection: Connection, app: Connection
) -> None:
    before = rows_of(connection)
    castle = BIGINT.lookup_id(app, "Castle")
    job, _ = new_job(connection, restore)
    lane = claimed(connection, job)

    def write() -> Counts:
        with target.connect() as own, own_transaction(own):
            return batches.update_and_keep(own, restore, lane, EVERY_ROW)

    with ThreadPoolExecutor(1) as thread:
        with app.transaction():
            BIGINT.update(app, 1, kind_id=castle)
            written = thread.submit(write)
            wait_until_somebody_waits(connection)
        assert written.result(timeout=60).updated == len(before) - 1
    rows = rows_of(connection)
    assert (rows["{1}"]["kind"], rows["{1}"]["kind_id"]) == ("Castle", castle)
    run_fill(connection, restore)
    assert rows_of(connection)["{1}"]["kind"] == "Castle"
