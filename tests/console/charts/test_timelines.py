"""The law of the timeline's layout, for whatever happens."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rollout.console.charts.timelines import SIGN_PERCENT, SLOTS, bars_of, clusters_of, in_words

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
    edges = []
    for bar in bars:
        middle = place(bar.middle)
        room = (middle - SIGN_PERCENT / 2, middle + SIGN_PERCENT / 2)
        if bar.width:
            room = (place(bar.x), place(bar.x) + place(bar.width))
            assert place(bar.width) >= SIGN_PERCENT - ROUNDING
        assert room[0] < middle < room[1]
        assert -ROUNDING <= room[0] < room[1] <= 100 + ROUNDING
        edges.append(room)
    assert all(second[0] >= first[1] - ROUNDING for first, second in pairwise(edges))
    assert sorted(span for bar in bars for span in bar.items) == sorted(spans)
    begins = [span[0] for bar in bars for span in bar.items]
    assert begins == sorted(begins)


@given(st.lists(SPANS, max_size=200))
def test_a_bar_is_as_long_as_its_time_and_a_short_one_is_a_sign_beside_it(
    spans: list[tuple[datetime, datetime]],
) -> None:
    def share(moment: datetime) -> float:
        return min(max((moment - SINCE) / (UNTIL - SINCE), 0), 1) * 100

    for bar in bars_of(spans, lambda span: span, SINCE, UNTIL):
        began = min(share(span[0]) for span in bar.items)
        ended = max(share(span[1]) for span in bar.items)
        assert abs(place(bar.x) - began) <= ROUNDING
        if bar.width:
            assert abs(place(bar.width) - (ended - began)) <= ROUNDING
        else:
            assert ended - began < SIGN_PERCENT
            assert began - SIGN_PERCENT / 2 - ROUNDING <= place(bar.middle)
            assert place(bar.middle) <= ended + SIGN_PERCENT / 2 + ROUNDING


@given(st.lists(MOMENTS, min_size=1, max_size=40))
def test_a_mark_lies_within_its_slot_of_where_it_happened(moments: list[datetime]) -> None:
    for cluster in clusters_of(moments, lambda moment: moment, SINCE, UNTIL):
        for moment in cluster.items:
            share = min(max((moment - SINCE) / (UNTIL - SINCE), 0), 1) * 100
            assert abs(share - place(cluster.x)) <= 50 / SLOTS + ROUNDING


def test_several_events_are_counted_by_name() -> None:
    assert in_words(["Approved"]) == "Approved"
    assert in_words(["Audit clean", "Approved", "Audit clean"]) == "2 × Audit clean, Approved"
