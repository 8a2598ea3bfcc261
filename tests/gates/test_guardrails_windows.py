"""The maintenance window: open by the clocks of its zone, and pending until it opens."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout import gates
from rollout.gates import Evidence
from rollout.models import Rollout
from rollout.plan.gates import DAYS, MaintenanceWindow

WINDOW = MaintenanceWindow(
    opens=time(22), closes=time(4), zone="Europe/Berlin", days=("fri", "sat")
)


@pytest.mark.parametrize(
    ("moment", "inside"),
    [
        ("2026-11-27T20:59:59", False),
        ("2026-11-27T21:00:00", True),  # Friday, 22:00 CET
        ("2026-11-28T02:59:59", True),  # Saturday before four, opened on Friday
        ("2026-11-28T03:00:00", False),
        ("2026-11-29T02:30:00", True),
        ("2026-11-29T21:30:00", False),  # Sunday
        ("2026-06-05T20:00:00", True),  # Friday, 22:00 CEST
    ],
)
def test_a_window_goes_by_the_clocks_of_its_zone(moment: str, inside: bool) -> None:
    assert WINDOW.contains(datetime.fromisoformat(moment).replace(tzinfo=UTC)) is inside


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)),
    st.sets(st.sampled_from(DAYS), min_size=1),
    st.integers(0, 23),
    st.integers(1, 23),
)
def test_a_window_is_open_when_it_opens_and_shut_just_before(
    moment: datetime, days: set[str], opens: int, hours: int
) -> None:
    window = MaintenanceWindow(
        opens=time(opens),
        closes=time((opens + hours) % 24),
        zone="UTC",
        days=tuple(day for day in DAYS if day in days),
    )
    now = moment.replace(tzinfo=UTC)
    opening = window.next_opening(now)
    assert now < opening <= now + timedelta(days=8)
    assert window.contains(opening)
    assert not window.contains(opening - timedelta(seconds=1)) or hours == 24
    if not window.contains(now):
        between = now + (opening - now) / 2
        assert not window.contains(between)


def test_a_closed_window_is_pending_and_says_when_it_opens(
    rollout: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monday = datetime(2026, 11, 23, 9, tzinfo=UTC)
    monkeypatch.setattr(Evidence, "now", monday)
    answer = gates.check_gate(WINDOW, Evidence(rollout, 1))
    assert answer.status == "pending"
    assert answer.message == (
        "Now: Mon 10:00 CET. Window: fri, sat, 22:00 to 04:00 Europe/Berlin. It opens "
        "Fri 2026-11-27 22:00 CET, in 4 d. Schedule the start."
    )
    always = replace(WINDOW, opens=time(0), closes=time(23, 59), days=DAYS)
    assert gates.check_gate(always, Evidence(rollout, 1)).status == "pass"
