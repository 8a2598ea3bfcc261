"""What a job did over time: added up in buckets, by however many workers."""

import pytest

from rollout.engine.target import Connection, Target
from rollout.engine.throughputs import (
    BUCKET_SECONDS,
    COARSE_BUCKET_SECONDS,
    ThroughputRecord,
    losses_of,
    throughputs_of,
)
from tests.engine.actions import new_job, work_off
from tests.engine.things import FILL, counted, legacy_rows


def test_simultaneous_work_of_several_workers_is_added_up(connection: Connection) -> None:
    for _worker in range(2):
        lost: dict[str, float] = {"lag": 5.0}
        record = ThroughputRecord(connection, 1, lost)
        record.add(100, 60, 0.5)
        record.add(10, 10, 0.25)
        lost["lag"] += 2.0
        lost["WAL"] = 1.0
        record.flush()
        record.add(1, 0, 0.0)
        lost["lag"] += 0.5
        record.flush()
    throughputs = throughputs_of(1).ask(connection)
    assert sum(s.scanned for s in throughputs) == 222
    assert sum(s.updated for s in throughputs) == 140
    assert sum(s.working_seconds for s in throughputs) == pytest.approx(1.5)
    assert sum(s.lost_seconds for s in throughputs) == pytest.approx(7.0)
    assert sum(s.rows_per_second * s.seconds for s in throughputs) == pytest.approx(222)
    first, second = losses_of(1).ask(connection)
    assert (first.signal, second.signal) == ("lag", "WAL")
    assert first.seconds == pytest.approx(5.0)
    assert second.seconds == pytest.approx(2.0)


def test_nothing_is_written_for_each_batch(connection: Connection) -> None:
    record = ThroughputRecord(connection, 1, {})
    for _batch in range(20):
        record.add(1, 1, 0.001)
    assert throughputs_of(1).ask(connection) == []
    record.flush()
    assert sum(s.scanned for s in throughputs_of(1).ask(connection)) == 20


def test_a_job_has_throughputs_of_its_own_in_order_of_time_and_no_more_than_asked_for(
    connection: Connection,
) -> None:
    connection.execute(
        "INSERT INTO rollout.throughputs SELECT 7, to_timestamp(n * 5), n, 0, 1, 0"
        " FROM generate_series(1, 300) AS n"
    )
    throughputs = throughputs_of(7, most=100).ask(connection)
    assert len(throughputs) == 76
    assert {s.seconds for s in throughputs} == {20}
    assert [s.at for s in throughputs] == sorted(s.at for s in throughputs)
    assert [s.scanned for s in throughputs[:2]] == [1 + 2 + 3, 4 + 5 + 6 + 7]
    assert sum(s.scanned for s in throughputs) == 300 * 301 / 2
    assert throughputs_of(8).ask(connection) == []


def test_a_job_of_ten_seconds_has_a_throughput_for_each_and_a_long_one_stores_coarser_ones(
    connection: Connection,
) -> None:
    connection.execute(
        "INSERT INTO rollout.throughputs SELECT 7, to_timestamp(n), 10, 0, 1, 0"
        " FROM generate_series(101, 110) AS n"
    )
    assert [s.seconds for s in throughputs_of(7).ask(connection)] == [1] * 10
    connection.execute(
        "INSERT INTO rollout.throughputs VALUES (8, now() - interval '9 minutes', 1, 1, 1, 0),"
        " (9, now() - interval '11 minutes', 1, 1, 1, 0)"
    )
    for job in (8, 9):
        record = ThroughputRecord(connection, job, {})
        record.add(1, 1, 0.1)
        record.flush()
    row = connection.execute(
        "SELECT max(at) AS at FROM rollout.throughputs WHERE job = 9"
    ).fetchone()
    assert row is not None
    assert row[0].timestamp() % COARSE_BUCKET_SECONDS == 0
    assert throughputs_of(8).ask(connection)[-1].seconds == 5
    assert BUCKET_SECONDS == 1


def test_the_throughputs_of_a_whole_pass_add_up_to_its_counters(
    target: Target, connection: Connection
) -> None:
    legacy_rows(target, connection, 3_000)
    job, stripes = new_job(connection, FILL)
    work_off(connection, FILL, job, stripes)
    throughputs = throughputs_of(job).ask(connection)
    assert (sum(s.scanned for s in throughputs), sum(s.updated for s in throughputs)) == counted(
        connection, job
    )


def test_each_stripe_of_a_range_is_recorded_with_its_rows(
    target: Target, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    legacy_rows(target, connection, 3_000)
    job, _ = new_job(connection, FILL)
    batches: list[tuple[int, int]] = []

    def add(_: ThroughputRecord, read: int, written: int, __: float) -> None:
        batches.append((read, written))

    monkeypatch.setattr(ThroughputRecord, "add", add)
    work_off(connection, FILL, job, 8)
    wrote = [read for read, written in batches if written]
    assert len(wrote) >= 8
    assert min(wrote) > 0, "at a low pace the stripes of a range are seconds apart"
    assert sum(read for read, _ in batches) == 3_000
