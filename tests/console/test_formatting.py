from datetime import UTC, datetime, timedelta

import pytest

from rollout.console import formatting

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (1234567, "1,234,567"), (63_693.7, "63,694"), (None, "–")]
)
def test_numbers_have_separators(value: float | None, shown: str) -> None:
    assert formatting.number(value) == shown


@pytest.mark.parametrize(
    ("fraction", "shown"),
    [
        (0, "0%"),
        (0.00001, "0.1%"),
        (0.4321, "43.2%"),
        (0.9999, "99.9%"),
        (1, "100%"),
    ],
)
def test_only_all_is_a_hundred_percent(fraction: float, shown: str) -> None:
    assert formatting.percent(fraction) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (-1, "0 ms"),
        (0.0844, "84 ms"),
        (4.23, "4.2 s"),
        (5.0, "5 s"),
        (12.4, "12 s"),
        (59.7, "1 min"),
        (200, "3 min 20 s"),
        (300, "5 min"),
        (7500, "2 h 5 min"),
        (86400 * 3 + 3600 * 4, "3 d 4 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float | None, shown: str) -> None:
    assert formatting.duration(seconds) == shown
    if seconds is not None:
        assert formatting.duration(timedelta(seconds=seconds)) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-3, "just now"),
        (4, "just now"),
        (42, "42 s ago"),
        (200, "3 min ago"),
        (7300, "2 h ago"),
        (400_000, "4 d ago"),
    ],
)
def test_a_moment_is_told_by_its_largest_unit(seconds: int, shown: str) -> None:
    assert formatting.ago(NOON - timedelta(seconds=seconds), now=NOON) == shown


def test_times_carry_their_zone_and_another_day_its_date() -> None:
    assert formatting.clock(NOON, now=NOON) == (
        '<time datetime="2026-03-01T12:00:00.000+00:00" title="2026-03-01 12:00:00 UTC">'
        "12:00:00 UTC</time>"
    )
    assert ">1 Mar 2026, 12:00:00 UTC<" in formatting.clock(NOON, now=NOON + timedelta(days=1))
    assert formatting.clock(None) == "–"
    assert formatting.when(NOON, now=NOON).endswith("</time>, just now")
