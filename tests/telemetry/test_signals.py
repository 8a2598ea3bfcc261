"""When the application counts as suffering."""

import pytest

from rollout.telemetry.histograms import Histogram
from rollout.telemetry.operation_stats import OperationStats
from rollout.telemetry.signals import judge


def figures(*, ms: float, calls: int = 100, errors: int = 0) -> OperationStats:
    durations = Histogram()
    for _ in range(calls):
        durations.add(ms / 1000)
    return OperationStats(calls=calls, errors=errors, durations=durations)


@pytest.mark.parametrize(
    ("now", "before", "status"),
    [
        (figures(ms=10), figures(ms=10), "ok"),
        (figures(ms=30), figures(ms=10), "ok"),
        (figures(ms=60), figures(ms=40), "ok"),
        (figures(ms=60), figures(ms=10), "throttle"),
        (figures(ms=10, errors=4), figures(ms=10), "ok"),
        (figures(ms=10, errors=6), figures(ms=10), "stop"),
        (figures(ms=10, errors=6), figures(ms=10, errors=3), "ok"),
        (figures(ms=500, calls=19), figures(ms=10), "unknown"),
        (figures(ms=500), figures(ms=10, calls=19), "unknown"),
    ],
)
def test_application_is_compared_with_its_baseline(
    now: OperationStats, before: OperationStats, status: str
) -> None:
    signal = judge(now, before)
    assert signal.status == status
    assert (" ms, baseline " in signal.reason) == (status in ("ok", "throttle"))


def test_the_sentence_has_the_window_and_the_limit_that_the_signal_uses() -> None:
    signal = judge(figures(ms=60), figures(ms=10))
    assert signal.bound is not None
    assert f" ms over 30 s, limit {signal.bound:.0f} ms, baseline " in signal.reason
