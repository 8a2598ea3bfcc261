"""The law of the timeline's layout, for whatever happens."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rollout.console.charts.timelines import MIN_BAR_PERCENT, SLOTS, bars_of, clusters_of, in_words

SINCE = datetime(2026, 3, 1, 12, tzinfo=UTC)
UNTIL = SINCE + timedelta(hours=2)
# Also before the axis begins and after it ends.
MOMENTS = st.integers(-3600, 3 * 3600).map(lambda second: SINCE + timedelta(seconds=second))
SPANS = st.tuples(MOMENTS, MOMENTS).map(lambda pair: (min(pair), max(pair)))
ROUNDING = 0.002


def place(percent: str) -> float:
    return float(percent.removesuffix("%"))


@given(st.lists(MOMENTS, max_size=600))
def test_marks_stay_on_the_axis_in_order_and_add_up_to_what_happened(
    moments: list[datetime],
) -> None:
    clusters = clusters_of(moments, lambda moment: moment, SINCE, UNTIL)
    assert len(clusters) <= SLOTS
    places = [place(cluster.x) for cluster in clusters]
    apart = 100 / SLOTS - ROUNDING
    assert all(0 < x < 100 for x in places)
    assert all(second - first >= apart for first, second in pairwise(places))
    assert [moment for cluster in clusters for moment in cluster.items] == sorted(moments)


@given(st.lists(SPANS, max_size=200))
def test_bars_stay_on_the_axis_in_order_without_overlap_and_add_up(
    spans: list[tuple[datetime, datetime]],
) -> None:
    bars = bars_of(spans, lambda span: span, SINCE, UNTIL)
    edges = [(place(bar.x), place(bar.x) + place(bar.width)) for bar in bars]
    for bar, (left, right) in zip(bars, edges, strict=True):
        assert 0 <= left < right <= 100 + ROUNDING
        assert place(bar.width) >= MIN_BAR_PERCENT - ROUNDING
        assert left < place(bar.middle) < right
    assert all(second[0] >= first[1] - ROUNDING for first, second in pairwise(edges))
    assert sorted(span for bar in bars for span in bar.items) == sorted(spans)
    begins = [span[0] for bar in bars for span in bar.items]
    assert begins == sorted(begins)


@given(st.lists(MOMENTS, min_size=1, max_size=40))
def test_a_mark_lies_within_its_slot_of_where_it_happened(moments: list[datetime]) -> None:
    for cluster in clusters_of(moments, lambda moment: moment, SINCE, UNTIL):
        for moment in cluster.items:
            share = min(max((moment - SINCE) / (UNTIL - SINCE), 0), 1) * 100
            assert abs(share - place(cluster.x)) <= 50 / SLOTS + ROUNDING


def test_several_events_are_counted_by_name() -> None:
    assert in_words(["Approved"]) == "Approved"
    assert in_words(["Audit clean", "Approved", "Audit clean"]) == "2 Audit clean, 1 Approved"
