"""The statistics of the application's operations, by plan."""

import pytest

from rollout.console.charts.point_caches import points_and_lately
from tests.console import journal
from tests.console.charts.test_point_caches import NOON, NOW, WIDTH, since_of
from tests.support.rollouts import PLAN

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("shared_parts")]


def test_points_of_a_plan_leave_out_what_asked_for_the_modes_of_another_one() -> None:
    for plan, ms in ((PLAN, 10), ("", 20), ("another", 400)):
        journal.measured(NOON - NOW / 2, ms=ms, plan=plan)
    until = NOON
    for plan, longest in ((PLAN, 25), ("another", 500), (PLAN, 25)):
        points, lately = points_and_lately(
            since_of(until), until, width=WIDTH, plan=plan, operation="", lately=NOW
        )
        (stats,) = (point.stats for point in points)
        assert stats.calls == lately["search"].calls == 2
        assert (stats.milliseconds(1.0) or 0) > longest / 2
        assert (stats.milliseconds(1.0) or 0) < longest
