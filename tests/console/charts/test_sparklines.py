"""Sparklines: a line, a baseline, and the same in words."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from rollout.console.charts.lines import HEIGHT, WIDTH
from rollout.console.charts.sparklines import sparkline_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SPAN = timedelta(minutes=30)
GAP = timedelta(minutes=2)
LATENCIES = st.lists(
    st.tuples(st.integers(0, 1800), st.floats(0.1, 1e5)), min_size=1, max_size=40
).map(sorted)


def test_a_sparkline_has_its_numbers_in_words() -> None:
    points = [(NOON + timedelta(minutes=m), ms) for m, ms in ((1, 12.0), (2, 48.0), (9, 38.0))]
    line = sparkline_of(points, NOON, SPAN, baseline=32.0, gap=GAP)
    assert line is not None
    assert line.name == (
        "p95 over the last 30 min: lowest 12 ms, highest 48 ms, latest 38 ms; baseline 32 ms"
    )
    assert len(line.paths) == 2, "nothing was measured for seven minutes"
    assert line.baseline == "46.67", "48 ms lie below a top of 60 ms"


def test_nothing_measured_makes_no_sparkline() -> None:
    assert sparkline_of([], NOON, SPAN, baseline=32.0, gap=GAP) is None


def test_a_sparkline_without_a_baseline_names_none() -> None:
    line = sparkline_of([(NOON, 5.0)], NOON, SPAN, baseline=None, gap=GAP)
    assert line is not None
    assert line.baseline == ""
    assert "baseline" not in line.name


@given(latencies=LATENCIES, baseline=st.none() | st.floats(0.1, 1e5))
def test_a_sparkline_and_its_baseline_stay_within_their_box(
    latencies: list[tuple[int, float]], baseline: float | None
) -> None:
    points = [(NOON + timedelta(seconds=second), ms) for second, ms in latencies]
    line = sparkline_of(points, NOON, SPAN, baseline=baseline, gap=GAP)
    assert line is not None
    places = [place.split(",") for path in line.paths for place in path.split()]
    assert all(0 <= float(x) <= WIDTH and 0 <= float(y) <= HEIGHT for x, y in places)
    assert line.baseline == "" or 0 <= float(line.baseline) <= HEIGHT
