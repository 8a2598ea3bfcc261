"""Old measurements are put together: fewer rows, the same sums."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from rollout.models import Measurement, Rollout, ShadowTally
from rollout.telemetry.histograms import Histogram
from rollout.telemetry.operation_stats import stats_by_operation
from rollout.telemetry.retention import RETENTION, downsample

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 4, 12, 0, 3, tzinfo=UTC)


def measured(seconds_ago: int, operation: str, calls: int) -> None:
    measurement(seconds_ago, operation, calls).save()


def measurement(seconds_ago: int, operation: str, calls: int) -> Measurement:
    durations = Histogram()
    for number in range(calls):
        durations.add(0.001 * (number + 1))
    return Measurement(
        at=NOW - timedelta(seconds=seconds_ago),
        seconds=5,
        operation=operation,
        process="host:1",
        calls=calls,
        errors=calls // 3,
        queries=calls * 2,
        database_seconds=calls / 100,
        durations=durations.as_json(),
    )


@hypothesis_settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.integers(0, int(timedelta(days=20).total_seconds())),
            st.sampled_from(["search", "create"]),
            st.integers(1, 9),
        ),
        max_size=30,
    )
)
def test_sums_and_quantiles_stay_what_they_were(rows: list[tuple[int, str, int]]) -> None:
    Measurement.objects.all().delete()
    Measurement.objects.bulk_create(measurement(*row) for row in rows)
    long_ago = NOW - timedelta(days=60)
    before = stats_by_operation(long_ago, NOW, plan="")
    downsample(now=NOW)
    after = stats_by_operation(long_ago, NOW, plan="")
    assert set(after) == set(before)
    for operation, row in after.items():
        then = before[operation]
        assert (row.calls, row.errors, row.queries) == (then.calls, then.errors, then.queries)
        assert row.durations == then.durations
        assert row.database_seconds == pytest.approx(then.database_seconds)
    assert downsample(now=NOW) == 0


def test_older_measurements_are_kept_in_longer_intervals() -> None:
    for minutes in (1, 30, 300, 1000, 6000, 12000):
        for second in range(0, 50, 5):
            measured(minutes * 60 + 4 + second, "search", 1)
    downsample(now=NOW)
    kept = Counter(Measurement.objects.values_list("seconds", flat=True))
    assert kept == {21600: 1, 7200: 1, 1800: 1, 300: 1, 30: 2, 5: 10}
    assert sum(Measurement.objects.values_list("calls", flat=True)) == 60


def test_the_processes_of_one_interval_are_put_together(settings: Any) -> None:
    for _ in range(4):
        measured(60, "search", 2)
    Measurement.objects.update(seconds=3)
    downsample(now=NOW)
    (row,) = Measurement.objects.all()
    assert (row.process, row.seconds, row.calls) == ("", 3, 8)
    # How it is thinned is the site's to say.
    settings.ROLLOUT = {**settings.ROLLOUT, "TELEMETRY_THINNING": [(timedelta(0), 30)]}
    downsample(now=NOW)
    assert Measurement.objects.get().seconds == 30


def test_shadow_tallies_are_put_together_as_well() -> None:
    rollout = Rollout.objects.create(plan="tiny", environment="production")
    for second in range(0, 50, 10):
        ShadowTally.objects.create(
            rollout=rollout,
            at=NOW - timedelta(hours=1, seconds=second + 4),
            seconds=10,
            operation="search",
            compared=3,
            same=2,
            failed=1,
            old_durations={"5": 3},
        )
    downsample(now=NOW)
    (row,) = ShadowTally.objects.all()
    assert (row.compared, row.same, row.failed, row.old_durations) == (15, 10, 5, {"5": 15})


def test_measurements_past_their_retention_are_deleted() -> None:
    measured(int(RETENTION.total_seconds()) + 1, "search", 1)
    measured(60, "search", 1)
    downsample(now=NOW)
    assert Measurement.objects.count() == 1
