"""Starts that leads schedule, on the pages of the phase."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from rollout.models import Rollout, ScheduledStart, ScheduleState
from rollout.plan import Plan, plans
from tests.console import journal
from tests.console.journal import PAGE, text_of


def digest() -> str:
    return plans.get(journal.PLAN).digest_of(3)


def test_a_start_is_scheduled_shown_in_its_zone_and_cancelled(
    before_phase_3: Rollout, lead: Client, viewer: Client
) -> None:
    at = (timezone.now() + timedelta(days=2)).replace(second=0, microsecond=0)
    text = lead.post(
        f"{PAGE}phases/3/schedule/",
        journal.read(3, at=f"{at:%Y-%m-%dT%H:%M}", typed=journal.PLAN),
        follow=True,
    ).content.decode()
    assert "Phase 3 scheduled." in text
    assert f"{at:%H:%M} UTC</time></strong>, in 1 d" in text
    assert 'id="unschedule"' in text
    assert 'id="unschedule"' not in text_of(viewer, PAGE)
    shown = f"{at:%H:%M} UTC</time>"
    for page in (PAGE, f"{PAGE}phases/3/"):
        assert shown in text_of(lead, page)
        assert "Scheduled" in re.findall('class="rail-state">(.*?)</span>', text_of(lead, page))
    assert shown not in text_of(lead, f"{PAGE}phases/2/")
    assert (
        "Scheduled start cancelled."
        in lead.post(f"{PAGE}unschedule/", follow=True).content.decode()
    )
    assert ScheduledStart.objects.get().state == ScheduleState.CANCELLED


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        ("", "is not a time in UTC"),
        ("tomorrow", "is not a time"),
        ("2020-01-01T00:00", "later time"),
    ],
)
def test_an_invalid_time_is_named_and_kept(
    before_phase_3: Rollout, lead: Client, at: str, reason: str
) -> None:
    form = journal.read(3, at=at, typed=journal.PLAN)
    text = lead.post(f"{PAGE}phases/3/schedule/", form, follow=True).content.decode()
    assert reason in text
    assert f'name="at" value="{at}"' in text


def test_why_a_scheduled_start_did_not_start_stays_in_sight(
    before_phase_3: Rollout, viewer: Client
) -> None:
    ScheduledStart.objects.create(
        rollout=before_phase_3,
        phase=3,
        at=timezone.now(),
        zone="Europe/Berlin",
        actor_name="grace",
        phase_digest=digest(),
        state=ScheduleState.NOT_STARTED,
        outcome="Gate “approved”: Not approved yet.",
    )
    text = text_of(viewer, PAGE)
    assert "Scheduled start of phase 3 skipped" in text
    assert "Not approved yet." in text


def scheduled_by_grace(rollout: Rollout) -> ScheduledStart:
    return ScheduledStart.objects.create(
        rollout=rollout,
        phase=3,
        at=timezone.now() + timedelta(hours=2),
        zone="UTC",
        actor_name="grace",
        phase_digest=digest(),
    )


def test_a_start_before_its_time_says_that_it_ends_the_wait_for_the_same_phase(
    before_phase_3: Rollout, lead: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Plan, "gates_of", lambda *_, **__: ())
    start = scheduled_by_grace(before_phase_3)
    address = f"{PAGE}phases/3/start/?show=gates"
    cancels = "Starting now cancels the start of phase 3 that grace has scheduled for"
    assert cancels in text_of(lead, address)
    ScheduledStart.objects.filter(pk=start.pk).update(phase=4)
    text = text_of(lead, address)
    assert "Ready to start" in text
    assert "Starting now cancels" not in text


def test_a_rollback_says_before_and_after_that_it_ends_the_wait(
    before_phase_3: Rollout, lead: Client
) -> None:
    scheduled_by_grace(before_phase_3)
    address = f"{PAGE}phases/2/roll-back/"
    text = text_of(lead, address)
    assert "This rollback cancels the start of phase 3 that grace has scheduled for" in text
    seen = re.search(r'name="seen" value="([^"]+)"', text)
    assert seen is not None
    form = {"seen": seen[1], "typed": journal.PLAN}
    answer = lead.post(address, form, follow=True).content.decode()
    assert "Rollback of phase 2 queued. The scheduled start of phase 3 at" in answer
    assert "planned by grace, is cancelled." in answer
    assert 'id="unschedule"' not in answer
