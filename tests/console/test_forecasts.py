"""What stands before the start of a phase that goes over tables."""

import re
from datetime import timedelta

from django.test import Client
from django.utils import timezone

from rollout.models import BackfillEstimate, LogEntry, Rollout
from tests.console import journal
from tests.console.journal import PAGE, fragment_of, ran, text_of

START = f"{PAGE}phases/2/start/"


def expanded(rollout: Rollout) -> None:
    for phase in (0, 1):
        ran(rollout, phase)


def an_estimate(rollout: Rollout, **fields: object) -> BackfillEstimate:
    values = {
        "rollout": rollout,
        "phase": 2,
        "step": "backfill",
        "table": "properties",
        "position": 2,
        "actor_name": "grace",
        "finished_at": timezone.now(),
        **fields,
    }
    return BackfillEstimate.objects.create(**values)


def position_of_the_fill(rollout: Rollout) -> int:
    from rollout.plan import plans
    from rollout.worker.estimates import passes_of

    return passes_of(plans.get(rollout.plan), 2)[0].position


def test_before_the_columns_are_there_nothing_is_planned(rollout: Rollout, lead: Client) -> None:
    text = text_of(lead, START)
    assert "Backfill of properties" in text
    assert "The target columns don't exist yet" in text


def test_a_phase_that_goes_over_no_table_has_no_forecast(rollout: Rollout, lead: Client) -> None:
    assert "Backfill estimates" not in text_of(lead, f"{PAGE}phases/0/start/")
    text = lead.post(f"{PAGE}phases/0/estimate/", follow=True).content.decode()
    assert "has no backfill to estimate" in text


def test_a_phase_that_has_begun_has_no_forecast(rollout: Rollout, lead: Client) -> None:
    expanded(rollout)
    ran(rollout, 2, "failed")
    assert "Backfill estimates" not in text_of(lead, START)
    text = lead.post(f"{PAGE}phases/2/estimate/", follow=True).content.decode()
    assert "Phase 2 has started" in text


def test_no_sample_is_taken_while_a_phase_is_at_work(rollout: Rollout, lead: Client) -> None:
    ran(rollout, 0)
    ran(rollout, 1, "running")
    text = lead.post(f"{PAGE}phases/2/estimate/", follow=True).content.decode()
    assert "Another phase is running" in text


def test_an_estimate_is_requested_once_and_looked_out_for(rollout: Rollout, lead: Client) -> None:
    expanded(rollout)
    response = lead.post(f"{PAGE}phases/2/estimate/", follow=True)
    assert response.redirect_chain == [(START, 302)]
    text = response.content.decode()
    assert re.search(r"Estimate requested by lead, <span data-ago=.*>just now</span>.", text)
    assert 'id="estimate"' not in text
    assert f'hx-get="{START}"' in text
    fragment = fragment_of(lead, START)
    assert "<html" not in fragment
    assert "Steps" not in fragment
    again = lead.post(f"{PAGE}phases/2/estimate/", follow=True).content.decode()
    assert "An estimate is already running." in again
    assert [e.table for e in BackfillEstimate.objects.order_by("pk")] == [
        "properties",
        "property_images",
    ]
    assert LogEntry.objects.get(event="estimate asked for").actor == "lead"


def test_an_estimate_that_was_never_made_can_be_requested_again(
    rollout: Rollout, lead: Client
) -> None:
    expanded(rollout)
    position = position_of_the_fill(rollout)
    old = an_estimate(rollout, finished_at=None, position=position)
    old.created_at -= timedelta(hours=1)
    old.save()
    text = text_of(lead, START)
    assert "didn't run. Request it again." in text
    assert 'id="estimate"' in text
    assert "data-live" not in text.partition('id="live"')[2].partition(">")[0]


def test_the_newest_estimate_is_shown_with_its_age(rollout: Rollout, lead: Client) -> None:
    expanded(rollout)
    position = position_of_the_fill(rollout)
    an_estimate(rollout, position=position, error="an older one")
    an_estimate(
        rollout,
        position=position,
        finished_at=timezone.now() - timedelta(minutes=2),
        rows=2_000_000,
        seconds=31.2,
        sampled_rows=2900,
        wal_bytes=1_310_000_000,
        disk_bytes=560_000_000,
    )
    text = " ".join(text_of(lead, START).split())
    assert (
        "<strong>About 31 s</strong>, 1.3 GB of WAL, at most 560 MB of disk, "
        '<span class="muted">from a sample of 2,900 rows, rolled back; grace, <span data-ago='
    ) in text
    assert "an older one" not in text


def test_why_an_estimate_failed_is_shown_as_text(rollout: Rollout, lead: Client) -> None:
    expanded(rollout)
    an_estimate(rollout, position=position_of_the_fill(rollout), error="<script>x</script>")
    text = text_of(lead, START)
    assert "Estimate failed" in text
    assert "&lt;script&gt;x" in text
    assert "<script>x" not in text


def test_the_number_of_queries_does_not_grow_with_the_estimates(
    rollout: Rollout, lead: Client
) -> None:
    def queries() -> int:
        return journal.queries_of(lambda: text_of(lead, START))

    expanded(rollout)
    an_estimate(rollout)
    before = queries()
    for _ in range(5):
        an_estimate(rollout)
    assert queries() == before
