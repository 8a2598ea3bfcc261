"""Lines over time: what is drawn, what stands in words, and where a pointer finds a value."""

from datetime import UTC, datetime, timedelta

import pytest

from rollout.console.charts.cells import columns
from rollout.console.charts.lines import Level, Plot, Values, moving_of, plot_of, round_above

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
UNTIL = NOON + timedelta(minutes=10)


def over_time(*values: float | None) -> Values:
    return [(NOON + timedelta(minutes=number), value) for number, value in enumerate(values)]


def plot(*lines: tuple[str, Values], levels: tuple[Level, ...] = ()) -> Plot:
    return plot_of("Latency", "ms", lines, NOON, UNTIL, levels=levels)


def test_a_series_that_is_zero_throughout_is_named_and_not_drawn() -> None:
    drawn = plot(("waits", over_time(0, 0, None)), ("calls", over_time(1, 0, 3)))
    nothing = plot(("errors", over_time(0, 0)), ("unknown", over_time(None)))
    assert [name for name, _ in drawn.lines] == ["calls"]
    assert moving_of([drawn, nothing]) == ([drawn], ["waits", "errors"])


def test_limits_near_the_values_are_drawn_and_those_far_above_stand_in_words() -> None:
    levels = (Level("soft", 60), Level("hard", 900), Level("p95", 20, is_baseline=True))
    drawn = plot(("p95", over_time(20, 30)), levels=levels)
    assert drawn.top == 60
    assert [(level.label, level.y, level.kind) for level in drawn.levels] == [
        ("soft 60 ms", "0.000%", "limit"),
        ("p95 20 ms", "66.667%", "baseline"),
    ]
    assert drawn.beyond == ["hard 900 ms"]
    assert drawn.level_keys == [("limit", "limit"), ("baseline", "baseline p95 20 ms")]
    assert drawn.levels[0].label_dy == 12, "no label lies over the legend"


def test_limits_that_lie_close_together_have_one_label() -> None:
    levels = tuple(Level(name, value) for name, value in (("a", 98), ("b", 95), ("c", 40)))
    drawn = plot(("p95", over_time(100)), levels=levels)
    assert [level.label for level in drawn.levels] == ["a 98 ms, b 95 ms", "", "c 40 ms"]


def test_a_column_stands_around_each_moment_with_all_of_its_values() -> None:
    drawn = plot(("<b>", over_time(1, 2)), ("p99", over_time(None, 4000.5)))
    assert [(column.x, column.width) for column in drawn.columns] == [(0, 10), (10, 10)]
    text = columns(drawn)
    assert '<rect x="5.00%" width="10.00%" height="100%">' in text
    assert "<title>1 Mar 12:00 UTC\n&lt;b&gt; 1 ms</title>" in text
    assert "1 Mar 12:01 UTC\n&lt;b&gt; 2 ms\np99 4,000 ms" in text
    words = "Latency, ms; <b> 1 to 2, latest 2; p99 4,000 to 4,000, latest 4,000"
    assert drawn.in_words == words


@pytest.mark.parametrize(("value", "top"), [(0.3, 0.4), (0.0041, 0.006), (0.0, 1), (9, 10)])
def test_a_small_plot_has_a_plain_top_too(value: float, top: float) -> None:
    assert round_above(value) == pytest.approx(top)
