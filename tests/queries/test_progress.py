"""How fast a job is and how long it will take, from what was measured."""

from datetime import UTC, datetime, timedelta

import pytest

from rollout.engine.health import Signal, Status
from rollout.engine.throughputs import Throughput
from rollout.queries.progress import TimeLeft, evenly, recent_speed, time_left

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def throughput(second: float, scanned: int = 5000, worked: float = 4.0) -> Throughput:
    return Throughput(after(second), scanned, scanned, worked, 0.0, 5)


def left(rows: float, *speeds: float | None, status: Status = "ok") -> TimeLeft | None:
    return time_left(rows, speeds=speeds, signals=[Signal("a sign", status, "why")])


def test_the_time_left_is_a_range_between_speeds_that_differ() -> None:
    assert left(6000, 1000, 500) == TimeLeft(6, 12)
    assert left(6000, 1000, 250, 900) == TimeLeft(6, 24)
    assert left(6000, 1000, None) == TimeLeft(6, 6)


def test_the_time_left_is_one_figure_once_the_speed_is_steady() -> None:
    assert left(6000, 1100, 900) == TimeLeft(6, 6)
    assert left(6000, 1300, 900) != TimeLeft(6, 6)


def test_a_held_job_has_no_longest_time() -> None:
    assert left(6000, 1000, None, status="stop") == TimeLeft(6, None)


def test_nothing_is_known_of_a_job_that_has_done_nothing() -> None:
    assert left(6000, 0, 0, None) is None


def test_the_recent_speed_is_that_of_half_a_minute_rests_included() -> None:
    throughputs = [throughput(second) for second in range(0, 60, 5)]
    assert recent_speed(throughputs, began=NOON, now=after(60)) == 1000
    # Nothing more came for ten seconds.
    assert recent_speed(throughputs, began=NOON, now=after(70)) == pytest.approx(20_000 / 30)
    assert recent_speed(throughputs, began=NOON, now=after(100)) is None
    assert recent_speed([], began=NOON, now=NOON) is None


def test_a_job_that_has_just_begun_is_as_fast_as_it_was_since() -> None:
    assert recent_speed([throughput(0, 3000)], began=after(2), now=after(5)) == 1000


def test_the_rows_of_a_long_range_are_spread_over_the_time_it_took() -> None:
    throughputs = [
        throughput(0, 8000, 2),
        throughput(5, 0, 4),
        throughput(10, 0, 2),
        throughput(15, 500, 1),
    ]
    assert [s.scanned for s in evenly(throughputs)] == [2000, 4000, 2000, 500]


def test_a_bucket_without_work_has_no_share_of_a_range() -> None:
    throughputs = [throughput(0, 8000), throughput(5, 0, 0), throughput(10, 900)]
    assert [s.scanned for s in evenly(throughputs)] == [8000, 0, 900]
    assert evenly([]) == []
