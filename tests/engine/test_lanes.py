"""Lanes: who holds which, and what becomes of them when a table grows or goes."""

from dataclasses import replace
from typing import Any

import pytest
from psycopg import sql

from rollout.engine import backfill, ddl, lane_totals, lanes, planner
from rollout.engine.target import Connection, Target
from rollout.plan.transition import triggers
from tests.engine.actions import NoControl, claimed, new_job, work_off, worker
from tests.engine.samples import BIGINT
from tests.engine.things import FILL, PLAN, counted, expire_leases, legacy_rows


@pytest.fixture
def short_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes of a few blocks, so that a small table has several."""
    monkeypatch.setattr(lanes, "LANE_BLOCKS", 4)


def rows_of(connection: Connection, job: int, *columns: str) -> list[tuple[Any, ...]]:
    return connection.execute(
        f"SELECT {', '.join(columns)} FROM rollout.lanes WHERE job = %s ORDER BY lane".encode(),
        [job],
    ).fetchall()


@pytest.mark.usefixtures("short_lanes")
def test_lanes_cover_the_table_without_a_block_in_two(
    target: Target, connection: Connection
) -> None:
    legacy_rows(target, connection, 2_000)
    job, _ = new_job(connection, FILL)
    (leaf,) = lanes.leaves(connection, BIGINT.table)
    bounds = rows_of(connection, job, "first_block", "end_block")
    assert len(bounds) > 2
    assert [first for first, _ in bounds] == [0, *(end for _, end in bounds[:-1])]
    assert bounds[-1][1] == leaf.blocks


@pytest.mark.usefixtures("short_lanes")
def test_several_lanes_share_the_table_without_a_row_in_two(
    target: Target, connection: Connection
) -> None:
    legacy_rows(target, connection, 4_000)
    job, stripes = new_job(connection, FILL)
    totals = work_off(connection, FILL, job, stripes)
    assert totals.updated == 4_000
    assert backfill.count_unfilled(connection, FILL, job) == 0


def test_a_lane_that_is_held_is_nobody_elses(target: Target, connection: Connection) -> None:
    legacy_rows(target, connection, 100)
    job, _ = new_job(connection, FILL)
    lane = claimed(connection, job, "first")
    assert lanes.claim(connection, job, "second") is None
    assert lane_totals.totals(connection, job).holders == ("first",)
    lanes.release(connection, lane)
    assert lane_totals.totals(connection, job).holders == ()
    assert lanes.claim(connection, job, "second") is not None


def test_a_lane_whose_lease_ran_out_is_taken_with_a_new_token_and_where_it_was(
    target: Target, connection: Connection
) -> None:
    legacy_rows(target, connection, 2_000)
    job, _ = new_job(connection, FILL)
    dead = claimed(connection, job, "dead")
    ticks = iter(range(1_000))
    ended = worker(connection, FILL, stripes=16, clock=lambda: float(next(ticks))).run_lane(
        dead, seconds=8
    )
    expire_leases(connection, job)
    heir = claimed(connection, job, "heir")
    assert heir.token > dead.token
    assert (heir.next_block, heir.stripe) == (ended.next_block, ended.stripe)


def test_keeping_a_lane_moves_its_lease_on_and_only_its_holder_can(
    target: Target, connection: Connection
) -> None:
    legacy_rows(target, connection, 100)
    job, _ = new_job(connection, FILL)
    former = claimed(connection, job, "former")
    expire_leases(connection, job)
    lanes.keep(connection, former)
    assert lanes.claim(connection, job, "second") is None
    expire_leases(connection, job)
    present = claimed(connection, job, "present")
    expire_leases(connection, job)
    lanes.keep(connection, former)
    assert lane_totals.totals(connection, job).holders == ()
    lanes.keep(connection, present)
    assert lane_totals.totals(connection, job).holders == ("present",)


def test_lanes_are_made_once_and_forgotten_when_the_journal_has_their_totals(
    target: Target, connection: Connection
) -> None:
    legacy_rows(target, connection, 2_000)
    job, stripes = new_job(connection, FILL)
    work_off(connection, FILL, job, stripes)
    lanes.create(connection, job, BIGINT.table)
    assert lanes.is_finished(connection, job)
    assert counted(connection, job) == (2_000, 2_000)
    lanes.forget(connection, job)
    assert not lanes.is_finished(connection, job)
    assert counted(connection, job) == (0, 0)


def test_the_first_batches_reach_as_far_as_they_are_told(
    target: Target, connection: Connection
) -> None:
    legacy_rows(target, connection, 2_000)
    lanes.create(connection, 1_000_001, BIGINT.table, range_blocks=1)
    lane = claimed(connection, 1_000_001)
    assert (lane.range_end, lane.range_blocks) == (1, 1)


def test_another_round_reaches_the_blocks_that_the_table_has_gained(
    target: Target, connection: Connection
) -> None:
    legacy_rows(target, connection, 0)
    job, stripes = new_job(connection, FILL)
    assert lanes.is_finished(connection, job)
    ddl.apply(connection, triggers(PLAN, BIGINT.table).remove(), NoControl())
    BIGINT.insert(connection, 1, kind=None)
    assert backfill.count_unfilled(connection, FILL, job) == 1
    lanes.another_round(connection, job, BIGINT.table)
    assert not lanes.is_finished(connection, job)
    totals = work_off(connection, FILL, job, stripes)
    assert (totals.scanned, totals.updated, totals.rewritten) == (0, 0, 1)


def test_a_pass_over_named_rows_reads_their_blocks_alone_and_follows_one_that_moves(
    target: Target, connection: Connection
) -> None:
    legacy_rows(target, connection, 2_000)
    named = sql.SQL("t.id IN (3, 5)")
    confined = replace(FILL, named=named, only=named)
    ddl.apply(connection, triggers(PLAN, BIGINT.table).remove(), NoControl())
    job, stripes = new_job(connection, confined)
    (leaf,) = lanes.leaves(connection, BIGINT.table)
    assert (planner.choose(connection, confined).blocks, stripes) == (1, 1)
    assert leaf.blocks > 2, "there are more to read"
    connection.execute("DELETE FROM things WHERE id = 3")
    BIGINT.insert(connection, 3, kind="House", state="open")
    totals = work_off(connection, confined, job, stripes)
    assert totals.updated == 1
    assert totals.scanned <= 2_000 / leaf.blocks * 2
    assert backfill.count_unfilled(connection, confined, job) == 1, "it has left its block"
    lanes.another_round(connection, job, BIGINT.table, named=named)
    work_off(connection, confined, job, stripes)
    assert backfill.count_unfilled(connection, confined, job) == 0
    assert BIGINT.count(connection, "t.kind_id IS NOT NULL") == 2
    nothing = replace(confined, named=sql.SQL("t.id = -1"), only=sql.SQL("t.id = -1"))
    job, stripes = new_job(connection, nothing)
    assert lanes.is_finished(connection, job), "rows that are gone leave nothing to read"


def test_the_share_that_is_done_goes_up_with_the_blocks(
    target: Target, connection: Connection
) -> None:
    legacy_rows(target, connection, 2_000)
    job, _ = new_job(connection, FILL)
    assert lane_totals.totals(connection, job).fraction == 0
    lane = claimed(connection, job)
    connection.execute("UPDATE rollout.lanes SET next_block = end_block / 2 WHERE job = %s", [job])
    half = lane.end_block // 2 / lane.end_block
    assert lane_totals.totals(connection, job).fraction == pytest.approx(half)
