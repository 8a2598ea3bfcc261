from datetime import UTC, datetime, timedelta

import pytest
from django.template.loader import render_to_string

from rollout.console.charts.bars import Chart, chart_of, spans_of, with_application
from rollout.console.charts.lines import round_above
from rollout.engine.throughputs import Throughput
from rollout.telemetry.operation_stats import OperationStats, Point
from tests.console.journal import with_spaces

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
LATE = NOON + timedelta(days=1)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def throughput(
    second: float, scanned: int = 5000, lost: float = 0.0, *, seconds: float = 5
) -> Throughput:
    return Throughput(after(second), scanned, scanned - 10, 4.0, lost, seconds)


def chart(*throughputs: Throughput, ended: datetime | None = LATE) -> Chart:
    drawn = chart_of(throughputs, began=NOON, ended=ended, now=LATE)
    assert drawn is not None
    return drawn


def drawn(chart: Chart | None, *, done: bool = False) -> str:
    page = {"chart": chart, "full": True, "progress": {"done": done}}
    return with_spaces(render_to_string("rollout/job/plot.html", page))


def test_a_chart_without_throughput_is_a_sentence() -> None:
    assert chart_of([], began=NOON, ended=None, now=NOON) is None
    assert "<svg" not in drawn(None)
    assert "about 2 seconds" in drawn(None)
    assert "No throughput recorded" in drawn(None, done=True)


def test_one_throughput_is_a_bar_and_no_wall() -> None:
    drawing = chart(throughput(0))
    assert drawing.end - drawing.start == timedelta(seconds=10)
    (bar,) = drawing.bars
    assert (bar.x, bar.width) == ("0.000%", "50.000%")
    assert bar.span.rows_per_second == 1000
    assert (drawing.top, drawing.half, bar.height) == (1000, 500, "100.000%")
    text = drawn(drawing)
    assert text.count('class="area" x=') == 1
    for shown in ("rows/s", "Time, UTC", "12:00:00", "12:00:10", "1,000"):
        assert shown in text
    assert "Throttled or paused" not in text
    assert 'style="' not in text


def test_throughputs_of_half_a_minute_fill_the_plot_of_an_hour() -> None:
    many = chart(*(throughput(30 * n, 30_000 + n, seconds=30) for n in range(120)))
    assert len(many.bars) == 120
    assert many.end - many.start == timedelta(hours=1)
    assert {bar.width for bar in many.bars} == {"0.833%"}
    assert many.bars[0].span.rows_per_second == 1000
    assert many.bars[0].span.rows == 30_000
    assert drawn(many).count('class="area" x=') == 120


def test_a_job_of_ten_seconds_has_ten_bars() -> None:
    throughputs = [throughput(n, 100 * n, seconds=1) for n in range(10)]
    drawing = chart(*throughputs, ended=after(9.6))
    assert len(drawing.bars) == 10
    assert drawing.highest == pytest.approx(900 / 0.6)
    assert "12:00:08 UTC\n800 rows/s</title>" in drawn(drawing, done=True)


def test_a_bucket_that_is_still_being_filled_is_left_out() -> None:
    throughputs = [throughput(0), throughput(5)]
    assert len(spans_of(throughputs, began=NOON, ended=None, now=after(8))) == 1
    assert len(spans_of(throughputs, began=NOON, ended=None, now=after(10))) == 2


def test_the_first_and_the_last_bucket_count_only_the_time_the_job_had_of_them() -> None:
    throughputs = [throughput(0, 2000), throughput(5), throughput(10, 3000)]
    first, _, last = spans_of(throughputs, began=after(2), ended=after(13), now=LATE)
    assert (first.start, first.seconds, round(first.rows_per_second)) == (after(2), 3, 667)
    assert (last.seconds, last.rows_per_second) == (3, 1000)


def test_a_stretch_too_short_to_tell_a_speed_counts_with_its_neighbour() -> None:
    throughputs = [throughput(0, 500), throughput(5), throughput(10, 2000)]
    (only,) = spans_of(throughputs, began=after(3.5), ended=after(12), now=LATE)
    assert (only.start, only.seconds, only.rows) == (after(3.5), 8.5, 7500)


def test_slowed_down_stretches_are_marked_by_pattern_and_legend() -> None:
    slowed = chart(
        throughput(0),
        throughput(5, lost=3),
        throughput(10, lost=2),
        throughput(15),
        throughput(20, lost=1),
    )
    assert [(band.x, band.width) for band in slowed.bands] == [
        ("20.000%", "40.000%"),
        ("80.000%", "20.000%"),
    ]
    text = drawn(slowed)
    assert text.count('fill="url(#hatch)"') == 3
    assert "Throttled or paused by a health signal" in text
    assert "12:00:05 UTC\n1,000 rows/s, throttled" in text


def test_a_loss_that_only_a_clock_notices_is_none() -> None:
    assert chart(throughput(0, lost=0.001)).bands == []


def test_a_job_that_was_held_is_marked_over_the_gap_that_it_left() -> None:
    held = chart(throughput(0), throughput(30, lost=26))
    assert [(band.x, band.width) for band in held.bands] == [("25.714%", "74.286%")]


def test_the_chart_of_a_job_at_work_reaches_to_now_and_marks_what_a_signal_holds_up() -> None:
    throughputs = [throughput(0), throughput(5, lost=3)]

    def until_now(**work: bool) -> Chart:
        drawing = chart_of(throughputs, began=NOON, ended=None, now=after(20), **work)
        assert drawing is not None
        return drawing

    assert until_now().end == after(10), "it is paused"
    assert until_now(at_work=True).end == after(20)
    bands = [(band.x, band.width) for band in until_now(at_work=True).bands]
    assert bands == [("25.000%", "25.000%")]
    bands = [(band.x, band.width) for band in until_now(at_work=True, is_slow=True).bands]
    assert bands == [("25.000%", "75.000%")]


def test_a_rest_between_two_batches_is_no_gap_and_a_pause_is_one() -> None:
    spans = spans_of(
        [throughput(0, seconds=1), throughput(4, seconds=1), throughput(30, seconds=1)],
        began=NOON,
        ended=LATE,
        now=LATE,
    )
    assert [span.seconds for span in spans] == [4, 1, 1]
    assert spans[0].rows_per_second == 1250, "its rest counts"


def test_time_lost_to_a_low_pace_is_of_the_row_whose_rest_it_was() -> None:
    spans = spans_of(
        [
            throughput(0, seconds=1),
            throughput(8, lost=6.7, seconds=1),
            throughput(9, lost=0.5, seconds=1),
        ],
        began=NOON,
        ended=LATE,
        now=LATE,
    )
    assert [round(span.lost_seconds, 1) for span in spans] == [5.7, 1.0, 0.5]
    assert all(span.lost_seconds <= span.seconds for span in spans)
    (first, held, last) = spans_of(
        [throughput(0), throughput(40, lost=26)], began=NOON, ended=LATE, now=LATE
    )
    assert (held.start, held.end, held.rows, held.lost_seconds) == (after(19), after(40), 0, 21)
    assert (first.lost_seconds, last.lost_seconds) == (0, 5)


def test_the_p95_of_the_application_is_drawn_for_as_long_as_it_was_measured() -> None:
    def measured(second: float, seconds: float, milliseconds: float) -> Point:
        stats = OperationStats(calls=9)
        for _ in range(9):
            stats.durations.add(milliseconds / 1000)
        return Point(after(second), stats, seconds)

    points = [measured(-10, 30, 20), measured(20, 30, 200), measured(70, 30, 20)]
    drawing = with_application(chart(*(throughput(5 * n) for n in range(12))), points)
    assert drawing is not None
    assert drawing.application is not None
    (path,) = drawing.application.paths
    assert [p.split(",")[0] for p in path.split()] == ["0.0", "333.3", "333.3", "833.3"]
    page = {"chart": drawing, "full": True}
    table = with_spaces(render_to_string("rollout/job/numbers.html", page))
    assert table.count("30 s") == 2
    assert with_application(drawing, points[2:]) is drawing, "it was measured after the job"


def test_a_clock_that_disagrees_does_no_harm() -> None:
    (span,) = spans_of([throughput(0)], began=after(60), ended=after(61), now=LATE)
    assert (span.start, span.seconds) == (NOON, 5)


@pytest.mark.parametrize(
    ("value", "top"), [(0, 1), (1, 1), (3, 4), (1001, 2000), (63_000, 80_000), (95_000, 100_000)]
)
def test_the_top_of_the_axis_and_its_half_are_plain_numbers(value: float, top: float) -> None:
    assert round_above(value) == top
