"""When commits count as slow."""

import pytest

from rollout.engine.commit_latencies import MIN_COMMITS, OTHERS_WINDOW, WINDOW, CommitLatencies

BUSY = (100.0,) * WINDOW


def known(*commits: float, baseline: float = 4.0, others: tuple[float, ...] = BUSY) -> str:
    return CommitLatencies(baseline, commits, others).signal(None).status


@pytest.mark.parametrize(
    ("commits", "status"),
    [
        ((), "unknown"),
        ((500.0,) * (MIN_COMMITS - 1), "unknown"),
        ((4.0,) * WINDOW, "ok"),
        ((14.0,) * WINDOW, "ok"),
        ((14.1,) * WINDOW, "throttle"),
        ((56.1,) * WINDOW, "stop"),
        # A stall that two commits meet is no trend.
        ((4.0, 900.0, 4.0, 900.0, 4.0), "ok"),
    ],
)
def test_commits_are_measured_by_the_median_of_the_last_against_the_baseline(
    commits: tuple[float, ...], status: str
) -> None:
    assert known(*commits) == status


def test_a_slow_disk_may_be_twice_as_slow() -> None:
    assert known(*(59.0,) * WINDOW, baseline=30.0) == "ok"
    assert known(*(61.0,) * WINDOW, baseline=30.0) == "throttle"


def test_a_set_limit_goes_before_the_baseline() -> None:
    latencies = CommitLatencies(4.0, (30.0,) * WINDOW, BUSY)
    assert latencies.signal(None).status == "throttle"
    assert latencies.signal(31).status == "ok"
    assert latencies.signal(7).status == "stop"
    signal = latencies.signal(20)
    assert (signal.status, signal.value, signal.bound) == ("throttle", 30.0, 20)
    assert signal.reason == "A small commit takes 30.0 ms: baseline 4.0 ms, limit 20.0 ms."


def test_slow_commits_matter_only_while_others_commit() -> None:
    slow = (900.0,) * WINDOW
    assert known(*slow, others=()) == "stop", "nobody knows yet"
    assert known(*slow, others=(2.9,) * WINDOW) == "ok"
    assert known(*slow, others=(0.0, -9.0, 15.0, 20.0, 20.0)) == "stop"


def test_whether_others_write_is_unknown_before_it_was_counted() -> None:
    assert CommitLatencies(4.0, others=()).others_write is None
    assert CommitLatencies(4.0, others=(2.9,) * WINDOW).others_write is False
    assert CommitLatencies(4.0, others=BUSY).others_write is True


def test_only_the_last_commits_count() -> None:
    latencies = CommitLatencies(4.0, (900.0,) * WINDOW, BUSY)
    for _ in range(WINDOW):
        latencies = latencies.and_then(4.0, 0.0)
    assert latencies.commits == (4.0,) * WINDOW
    assert latencies.others == (*BUSY, *(0.0,) * WINDOW)[-OTHERS_WINDOW:]
    assert latencies.and_then(5.0, None).others == latencies.others
