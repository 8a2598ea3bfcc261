"""A partitioned table: each leaf has lanes of its own, whatever happens to the leaves meanwhile."""

import threading
from dataclasses import replace

import pytest
from psycopg import sql

from rollout.engine import backfill, ddl, lanes
from rollout.engine.control import Interrupted
from rollout.engine.preflight import data as preflight_data
from rollout.engine.target import Connection, Target
from rollout.plan import CreateIndex
from rollout.plan.transition import fill as fill_of
from rollout.plan.transition import triggers
from tests.engine.actions import (
    NoControl,
    StopAfter,
    audit,
    claimed,
    do_until,
    new_job,
    run_fill,
    wait_until_somebody_waits,
    work_off,
    worker,
)
from tests.engine.samples import BIGINT, LISTED, PARTITIONED, Sample

PLAN = PARTITIONED.plan
FILL = fill_of(PLAN, PARTITIONED.table)


def start(target: Target, connection: Connection, *, rows: int = 200) -> None:
    PARTITIONED.create(connection)
    for number in range(rows):
        PARTITIONED.insert(connection, number, kind=f"Kind {number % 3}", state="open")
    do_until(target, connection, PLAN, "dual-write")


def move(connection: Connection, number: int, place: int) -> None:
    connection.execute(
        sql.SQL("UPDATE {} SET place = %s WHERE id = %s").format(PARTITIONED.table.identifier),
        [place, number],
    )


@pytest.mark.parametrize("sample", [PARTITIONED, LISTED], ids=str)
def test_each_leaf_has_lanes_of_its_own(
    sample: Sample, target: Target, connection: Connection
) -> None:
    sample.create(connection)
    sample.insert(connection, 1)
    job = 77_000
    lanes.create(connection, job, sample.table)
    rows = connection.execute(
        "SELECT schema_name, relation, done FROM rollout.lanes WHERE job = %s", [job]
    ).fetchall()
    assert {(schema, name) for schema, name, _ in rows} == {
        (sample.schema, name) for name in sample.partitions
    }
    assert [done for *_, done in rows].count(False) == 1


def test_leaves_under_leaves_count_and_what_is_between_does_not(
    target: Target, connection: Connection
) -> None:
    PARTITIONED.create(connection)
    connection.execute(
        "DROP TABLE parted.late;"
        "CREATE TABLE parted.late PARTITION OF parted.things FOR VALUES FROM (7) TO (MAXVALUE)"
        " PARTITION BY LIST (id);"
        'CREATE TABLE public."a leaf" PARTITION OF parted.late DEFAULT'
    )
    leaves = [(leaf.schema, leaf.name) for leaf in lanes.leaves(connection, PARTITIONED.table)]
    assert leaves == [("parted", "early"), ("public", "a leaf")]


def test_a_row_that_moves_to_another_partition_while_the_scan_continues_is_not_missed(
    target: Target, connection: Connection, app: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a leaf that is not scanned yet to one that is done, and the other way."""
    monkeypatch.setattr(lanes, "FIRST_RANGE_BLOCKS", 1)
    start(target, connection)
    job, _ = new_job(connection, FILL)
    first = claimed(connection, job)
    assert first.relation == "early"
    worker(connection, FILL, stripes=1).run_lane(first, seconds=60)
    move(app, 19, place=0)
    move(app, 0, place=19)
    work_off(connection, FILL, job, 1)
    assert backfill.count_unfilled(connection, FILL, job) == 0
    assert PARTITIONED.count(connection, "t.kind_id IS NULL") == 0
    assert audit(target, PLAN).mismatched == 0


def test_a_row_that_moves_away_while_a_batch_waits_for_it_makes_the_batch_be_tried_again(
    target: Target, connection: Connection, app: Connection
) -> None:
    start(target, connection)
    job, _ = new_job(connection, FILL)
    app.execute("BEGIN")
    move(app, 0, place=19)
    failures: list[BaseException] = []
    working = worker(connection, FILL, stripes=1)
    connection.execute("SET lock_timeout = 0")
    lane = claimed(connection, job)

    def work() -> None:
        try:
            working.run_lane(lane, seconds=60)
        except BaseException as failure:
            failures.append(failure)

    engine = threading.Thread(target=work)
    engine.start()
    with target.connect() as other:
        wait_until_somebody_waits(other)
    app.execute("COMMIT")
    engine.join()
    assert failures == []
    work_off(connection, FILL, job, 1)
    assert PARTITIONED.count(connection, "t.kind_id IS NULL") == 0


def test_a_partition_that_is_attached_meanwhile_is_filled_in_another_round(
    target: Target, connection: Connection
) -> None:
    start(target, connection, rows=30)
    connection.execute("DROP TABLE parted.late")
    job, stripes = new_job(connection, FILL)
    work_off(connection, FILL, job, stripes)
    connection.execute(
        'CREATE TABLE parted."late again" (LIKE parted.things INCLUDING ALL);'
        "INSERT INTO parted.\"late again\" (place, id, kind) SELECT 9, n, 'Tower'"
        " FROM generate_series(1, 40) AS n;"
        'ALTER TABLE parted.things ATTACH PARTITION parted."late again"'
        " FOR VALUES FROM (7) TO (MAXVALUE)"
    )
    # A text that nobody knew before has no mapping row: every write of it makes one.
    ddl.apply(connection, triggers(PLAN, PARTITIONED.table).install("forward"), NoControl())
    connection.execute("UPDATE parted.things SET note = 'healed' WHERE id = 1 AND place = 9")
    assert backfill.count_unfilled(connection, FILL, job) == 39
    lanes.another_round(connection, job, PARTITIONED.table)
    totals = work_off(connection, FILL, job, stripes)
    assert totals.round == 2
    assert backfill.count_unfilled(connection, FILL, job) == 0


def test_a_partition_that_is_dropped_meanwhile_has_nothing_left_to_do(
    target: Target, connection: Connection
) -> None:
    start(target, connection)
    job, stripes = new_job(connection, FILL)
    lane = claimed(connection, job)
    with pytest.raises(Interrupted):
        worker(connection, FILL, stripes=stripes, control=StopAfter(0)).run_lane(lane, seconds=60)
    lanes.release(connection, lane)
    connection.execute("DROP TABLE parted.early")
    totals = work_off(connection, FILL, job, stripes)
    assert totals.updated == PARTITIONED.count(connection) > 0
    assert backfill.count_unfilled(connection, FILL, job) == 0


def test_the_rows_of_all_leaves_are_counted(target: Target, connection: Connection) -> None:
    start(target, connection, rows=600)
    totals = run_fill(connection, FILL)
    assert (totals.scanned, totals.updated, totals.fraction) == (600, 600, 1)


INDEX = CreateIndex(
    id="i",
    description="",
    table=PARTITIONED.table,
    name="things_by_kind",
    columns=("kind", "state"),
)


@pytest.mark.parametrize("sample", [BIGINT, PARTITIONED], ids=str)
def test_a_plan_that_says_otherwise_of_partitions_is_stopped_before_it_begins(
    sample: Sample, target: Target, connection: Connection
) -> None:
    sample.create(connection)
    wrong = replace(INDEX, table=replace(sample.table, partitioned=not sample.table.partitioned))
    (hazard,) = wrong.hazards(PLAN)
    finding = preflight_data.hazard(connection, hazard)
    assert finding.level == "blocks"
    assert f"partitioned={sample.table.partitioned}" in finding.advice
    (hazard,) = replace(INDEX, table=sample.table).hazards(PLAN)
    assert preflight_data.hazard(connection, hazard).level == "pass"
