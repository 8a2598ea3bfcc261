"""The pages of rehearsals: what a lead sees at a glance, and the forecast for production."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from rollout.models import Rehearsal, Rollout, Snapshot
from rollout.plan import plans
from rollout.queries import rehearsals
from tests.console import journal
from tests.console.journal import PAGE, rehearsed, taken, text_of

LIST = f"{PAGE}rehearsals/"
HOSTILE = '"><img src=x onerror=alert(1)>'


def test_nobody_is_sent_to_take_a_snapshot_while_one_is_being_taken(
    rollout: Rollout, lead: Client
) -> None:
    assert text_of(lead, LIST).count("take one first") == 2
    taken(rollout, "taking", taken_at=None)
    text = text_of(lead, LIST)
    assert "take one first" not in text
    assert text.count("snapshot, which is being taken") == 2


def test_a_rehearsal_to_wait_for_or_cancel_is_linked_beside_the_refusal(
    rollout: Rollout, lead: Client
) -> None:
    running = rehearsed(taken(rollout), "running")
    refusal = text_of(lead, LIST).split("Wait for it to end, or cancel it.")[1].split("</p>")[0]
    assert f'<a href="{running.get_absolute_url()}">Rehearsal {running.pk}</a>' in refusal


@pytest.fixture
def journaled_snapshot(rollout: Rollout) -> Snapshot:
    return taken(rollout, phases=["untouched"] * 5)


def page_of(rehearsal: Rehearsal) -> str:
    return f"/rollout/rehearsals/{rehearsal.pk}/"


def test_the_list_says_what_there_is_and_what_to_do_first(
    rollout: Rollout, engineer: Client
) -> None:
    text = text_of(engineer, LIST)
    assert "A rehearsal requires a verified snapshot. Take one first." in text
    assert "No rehearsals yet." in text
    assert 'id="rehearse"' not in text
    taking = taken(rollout, "taking")
    assert f"Snapshot {taking.pk} is being taken and verified. A rehearsal can" in text_of(
        engineer, LIST
    )
    taking.delete()
    snapshot = taken(rollout, phases=["untouched"] * 5)
    text = text_of(engineer, LIST)
    assert f"Rehearse from snapshot {snapshot.pk}" in text
    rehearsed(snapshot)
    text = text_of(engineer, LIST)
    for shown in ("Passed", "Plan's rows", "50,012", "41 s", "12.5 ms", "88.1 ms", "Yes"):
        assert shown in text
    Rehearsal.objects.update(plan_digest="another")
    assert "changed since" in text_of(engineer, LIST)


def test_a_rehearsal_of_before_a_decision_says_that_it_counts_no_longer(
    rollout: Rollout, viewer: Client
) -> None:
    rehearsal = rehearsed(taken(rollout, taken_at=timezone.now()))
    assert "Outdated." not in text_of(viewer, page_of(rehearsal))
    journal.reviewed(rollout)
    text = text_of(viewer, page_of(rehearsal))
    assert "Outdated." in text
    assert "grace&#x27;s review of properties.type, which mapped “Apt” to “Apartment”" in text
    assert "before a mapping decision" in text_of(viewer, LIST)


def test_a_page_tells_at_a_glance_and_in_full(journaled_snapshot: Snapshot, viewer: Client) -> None:
    page = page_of(rehearsed(journaled_snapshot))
    text = text_of(viewer, page)
    assert "Passed: all phases ran and rolled back cleanly" in text
    for shown in (
        *("50,012", "41 s", "12.5 ms", "88.1 ms", "ACCESS EXCLUSIVE", "reads and writes"),
        *("62, 0 failed", "82 kB", "\N{MINUS SIGN}8.2 kB", "2 times", "waited 3.1 ms"),
        *("49,900 rows of the snapshot, unchanged,", "112 rows that traffic wrote"),
        *("Phase 1, expand, rolled back", "Locks are polled every 3.4 ms"),
    ):
        assert shown in text, shown
    assert 'id="live" data-live' not in text
    assert 'id="drop-rehearsal"' not in text


def test_a_page_predicts_for_productions_rows_and_compares_with_the_one_before(
    journaled_snapshot: Snapshot, viewer: Client
) -> None:
    first = rehearsed(journaled_snapshot)
    text = text_of(viewer, page_of(first))
    predicted = text.partition("Prediction for production")[2].partition("</table>")[0]
    for direction in ("Forward", "Rollback"):
        assert re.search(rf'data-label="{direction}">[^–<]', predicted), direction
    assert "range goes up to twice the rehearsed time per row" in text
    assert "Differences are from" not in text
    second = rehearsed(journaled_snapshot)
    text = text_of(viewer, page_of(second))
    assert f'Differences are from <a href="{page_of(first)}">' in text
    assert "the slowest of 2 rehearsals of this plan" in text
    Rehearsal.objects.update(plan_digest="another")
    assert "Prediction for production" not in text_of(viewer, page_of(second))


def test_differences_are_shown_as_text_and_the_database_can_be_inspected_and_dropped(
    journaled_snapshot: Snapshot, engineer: Client
) -> None:
    failed = rehearsed(
        journaled_snapshot,
        "failed",
        database="ready",
        error=HOSTILE,
        advice=HOSTILE,
        catalog_differences=["table notes was left behind."],
        data_differences=[HOSTILE],
    )
    text = text_of(engineer, page_of(failed))
    assert "Failed: rollback left differences" in text
    assert "table notes was left behind." in text
    assert "<img" not in text
    assert f'href="/rollout/{journal.PLAN}/{failed.environment.name}/"' in text
    assert 'id="drop-rehearsal"' in text


def test_a_running_rehearsal_is_polled_until_it_ends_and_can_be_cancelled(
    journaled_snapshot: Snapshot, engineer: Client
) -> None:
    rehearsal = rehearsed(
        journaled_snapshot, "running", activity="Starting the traffic.", compared_at=None
    )
    page = page_of(rehearsal)
    text = text_of(engineer, page)
    assert f'hx-get="{page}"' in text
    assert "2 of 10 runs complete" in text
    assert "Starting the traffic." in text
    assert "Prediction for production" not in text
    # It asks first.
    assert text.index("Cancel rehearsal…</summary>") < text.index('id="cancel-rehearsal"')
    text = engineer.post(f"{page}cancel/", follow=True).content.decode()
    assert "Cancelling the rehearsal. Its database is deleted once it has stopped." in text
    assert ">Cancelling<" in text
    assert 'id="cancel-rehearsal"' not in text
    assert "Stopping; its database is deleted then." in text
    assert "Starting the traffic." not in text
    again = engineer.post(LIST, follow=True).content.decode()
    assert f"rehearsal {rehearsal.pk} is running" in again


def test_the_step_that_runs_says_for_how_long_and_how_many_rows_it_has_done(
    journaled_snapshot: Snapshot, viewer: Client
) -> None:
    rehearsal = rehearsed(journaled_snapshot, "running", compared_at=None)
    run = journal.ran(rehearsal.sandbox, 4, "running", direction="backward")
    started = timezone.now() - timedelta(seconds=130)
    step = journal.reached(run, "drop-legacy", "running", started_at=started)
    assert "One statement: it reports no progress." in text_of(viewer, page_of(rehearsal))
    assert "Undo: Drop legacy columns" in text_of(viewer, page_of(rehearsal))
    step.waiting_for = "a lock of PID 7 on properties"
    step.save()
    assert "Waiting for a lock of PID 7 on properties." in text_of(viewer, page_of(rehearsal))
    journal.job_of(step, kind="restore")
    text = text_of(viewer, page_of(rehearsal))
    assert re.search(r"\(running for \d min \d+ s\)", text)
    assert "Progress of properties is unknown" in text
    step.state = "done"
    step.save()
    assert "running for" not in text_of(viewer, page_of(rehearsal))


def test_pressing_rehearses_from_the_newest_snapshot(
    journaled_snapshot: Snapshot, engineer: Client
) -> None:
    response = engineer.post(LIST, {"keep": "on"}, follow=True)
    assert "Rehearsal requested." in response.content.decode()
    rehearsal = Rehearsal.objects.get()
    assert (rehearsal.snapshot, rehearsal.keep_database) == (journaled_snapshot, True)
    assert response.redirect_chain[-1][0] == page_of(rehearsal)
    assert rehearsal.environment.database.endswith(f"rehearsal_1_{rehearsal.environment.pk}")


def test_the_rollouts_page_says_how_the_last_one_went(
    journaled_snapshot: Snapshot, viewer: Client
) -> None:
    assert "Not rehearsed yet." in text_of(viewer, PAGE)
    rehearsal = rehearsed(journaled_snapshot)
    text = text_of(viewer, PAGE)
    assert f'href="{page_of(rehearsal)}"' in text
    assert "Round trip clean" in text


def test_a_rollbacks_steps_are_those_that_its_own_page_counts(
    journaled_snapshot: Snapshot, viewer: Client, rollout: Rollout
) -> None:
    rehearsal = rehearsed(journaled_snapshot)
    back = rehearsal.sandbox.runs.get(direction="backward")
    for step in plans.get(journal.PLAN).phases[1].steps:
        if step.id != "add-property-columns":
            journal.reached(back, step.id)
    journal.ran(rollout, 0)
    journal.ran(rollout, 1)
    page = text_of(viewer, page_of(rehearsal))
    result = page.partition("Phase 1, expand, rolled back")[2].partition("</summary>")[0]
    listed = text_of(journal.browser_of("lead"), f"{PAGE}phases/1/roll-back/")
    number = listed.count("<strong>Undo: ")
    assert number < len(plans.get(journal.PLAN).phases[1].steps)
    assert f"{number} step" in result
    nothing = journal.ran(rehearsal.sandbox, 0, direction="backward")
    page = text_of(viewer, page_of(rehearsal))
    result = page.partition(f'id="phase-result-{nothing.pk}"')[2].partition("</summary>")[0]
    assert "nothing to do" in result
    assert "Rolled back<" not in result


def test_measured_durations_are_the_forecast_of_the_start_and_of_the_rollback(
    journaled_snapshot: Snapshot, lead: Client, rollout: Rollout
) -> None:
    journal.ran(rollout, 0)
    start = f"{PAGE}phases/1/start/"
    assert "In <a" not in text_of(lead, start)
    rehearsal = rehearsed(journaled_snapshot)
    assert f">rehearsal {rehearsal.pk}</a>" in text_of(lead, start)
    assert "longest lock 12.5 ms, max app latency 88.1 ms" in text_of(lead, start)
    locks = text_of(lead, f"{PAGE}phases/1/preflight/")
    assert "<strong>12.5 ms</strong>" in locks
    assert "with 50,000 rows" in locks
    journal.ran(rollout, 1)
    assert "longest lock 12.5 ms" in text_of(lead, f"{PAGE}phases/1/roll-back/")
    assert "<strong>12.5 ms</strong>" in text_of(lead, f"{PAGE}phases/1/roll-back/locks/")
    Rehearsal.objects.update(plan_digest="another")
    assert rehearsals.newest_measured(rollout) is None
    assert plans.get(journal.PLAN).digest != "another"
