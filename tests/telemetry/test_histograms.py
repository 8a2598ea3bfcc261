"""Histograms of durations: what is read from them, and what adding them up keeps."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.telemetry.histograms import ERROR, Histogram, total

durations = st.lists(st.floats(min_value=1e-5, max_value=1e4), min_size=1, max_size=200)
shares = st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0])


def histogram_of(seconds: list[float]) -> Histogram:
    histogram = Histogram()
    for duration in seconds:
        histogram.add(duration)
    return histogram


@given(durations, shares)
def test_a_quantile_is_off_by_no_more_than_the_error(seconds: list[float], share: float) -> None:
    exact = sorted(seconds)[max(1, math.ceil(share * len(seconds))) - 1]
    assert histogram_of(seconds).quantile(share) == pytest.approx(exact, rel=ERROR * 1.001)


@given(st.lists(durations, max_size=5))
def test_histograms_added_up_are_the_histogram_of_all(parts: list[list[float]]) -> None:
    together = histogram_of([duration for part in parts for duration in part])
    assert total(histogram_of(part) for part in parts) == together
    assert len(together) == sum(map(len, parts))


@given(durations)
def test_histogram_survives_json(seconds: list[float]) -> None:
    histogram = histogram_of(seconds)
    assert Histogram.of_json(histogram.as_json()) == histogram


def test_nothing_has_no_quantile() -> None:
    assert Histogram().quantile(0.95) is None


def test_no_time_at_all_counts_as_the_shortest() -> None:
    assert histogram_of([0.0]).quantile(0.5) == pytest.approx(1e-6, rel=ERROR)
