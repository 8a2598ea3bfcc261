"""A paused phase says who paused it, on which numbers and what to press; nothing counts on."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from rollout.models import BackfillJob, PhaseRun, Rollout, RuleState
from rollout.queries.progress import progress_of
from tests.console import journal
from tests.console.journal import PAGE, ran, reached, text_of
from tests.console.views.backfill_jobs import a_lane, measured

pytestmark = pytest.mark.usefixtures("clean_target")

PHASE = f"{PAGE}phases/2/"
MESSAGE = "The p95 is 704 ms over 120 calls; before the phase it was 259 ms."


def paused(rollout: Rollout, *, rule: str = "", message: str = "", **fields: Any) -> PhaseRun:
    """Phase 2, paused in its backfill, in which a quarter of the blocks are done."""
    for phase in (0, 1):
        ran(rollout, phase)
    by = f"rule {rule}" if rule else "grace"
    now = timezone.now().isoformat()
    pause = {"by": by, "rule": rule, "at": now, "message": message}
    run = ran(rollout, 2, "paused", halts=[[now, None]], pause=pause, **fields)
    slow = "throttled to 50% of full speed: The application is slow: p95 is 704 ms."
    job = journal.job_of(reached(run, "backfill", "running", waiting_for=slow))
    a_lane(job)
    measured(job, 4)
    return run


def judged(run: PhaseRun, rule: str, verdict: str, message: str) -> None:
    now = timezone.now()
    RuleState.objects.create(
        rollout=run.rollout,
        rule=rule,
        action="pause",
        verdict=verdict,
        acting=True,
        message=message,
        run=run,
        since=now,
        judged_at=now,
    )


@pytest.mark.parametrize(
    ("verdict", "now", "press"),
    [
        (
            "broken",
            "The p95 is 690 ms over 98 calls.",
            "Likely causes: lock waits, slow queries, or",
        ),
        ("kept", "The p95 is 240 ms over 101 calls.", "Guardrail OK again: resume."),
    ],
)
def test_a_guardrail_that_paused_a_phase_is_named_with_its_numbers_and_its_limit(
    rollout: Rollout, lead: Client, verdict: str, now: str, press: str
) -> None:
    run = paused(rollout, rule="slow", message=MESSAGE)
    judged(run, "slow", verdict, now)
    rehearsal = journal.rehearsed(journal.taken(rollout), "running")
    for page in (PHASE, PAGE):
        cause = f'<a href="{rehearsal.get_absolute_url()}">Rehearsal {rehearsal.pk}</a> running.'
        assert f"Possible cause, if on the same server: {cause}" in text_of(lead, page)
    job = BackfillJob.objects.get()
    for page in (PHASE, PAGE, f"/rollout/jobs/{job.pk}/"):
        text = text_of(lead, page)
        assert "Paused by guardrail “slow”</strong>" in text
        assert MESSAGE in text, "what it said when it paused"
        assert now in text, "what it says now"
        assert "3 times the baseline and the baseline plus 250 ms for 3 of 5 windows" in text
        assert press in text
        assert f'href="{PAGE}monitoring/#rules"' in text
        assert 'id="verb-resume"' in text


def test_phase_health_and_monitoring_agree_on_which_way_a_guardrail_goes(
    rollout: Rollout, lead: Client
) -> None:
    run = paused(rollout, rule="slow", message=MESSAGE)
    judged(run, "slow", "broken", "recovering")
    assert "</svg>Breached</span> recovering" in text_of(lead, PHASE)
    broken = {"at": "", "value": 9.0, "calls": 20, "verdict": "broken"}
    kept = {**broken, "value": 1.0, "verdict": "kept"}
    for windows, badge, standing in (
        ([broken, broken, broken, kept], "Recovering", "is recovering, 1 of 4 windows within"),
        ([kept, kept, broken], "Worsening", "is worsening, again 1 of 3 windows above"),
        ([broken, broken, broken], "Breached", "is breached"),
    ):
        RuleState.objects.update(windows=windows)
        assert f"</svg>{badge}</span> recovering" in text_of(lead, PHASE)
        overview = text_of(lead, PAGE)
        assert f"</svg>{badge}</span> recovering" in overview
        assert f"Guardrail “slow” {standing}" in overview
        assert f"</svg>{badge}</span>" in text_of(lead, f"{PAGE}monitoring/")


def test_a_guardrail_that_counts_wrong_values_sends_to_the_report(
    rollout: Rollout, lead: Client
) -> None:
    run = paused(rollout, rule="wrong-values", message="3 rows with a wrong lookup value.")
    judged(run, "wrong-values", "broken", "3 rows with a wrong lookup value.")
    text = text_of(lead, PHASE)
    assert "Open the report and repair its rows, then resume" in text


def test_a_person_who_paused_a_phase_is_named(rollout: Rollout, lead: Client) -> None:
    paused(rollout)
    text = text_of(lead, PHASE)
    assert "Paused by grace</strong>" in text
    assert text.count("Progress is saved: resuming continues from the last checkpoint.") == 1
    assert "#rules" not in text
    rollout.runs.filter(state="paused").update(state="pausing")
    text = text_of(lead, PHASE)
    assert "Pause requested by grace</strong>" in text
    assert "Progress is saved" not in text


def test_nothing_about_a_paused_phase_says_that_it_runs(rollout: Rollout, lead: Client) -> None:
    paused(rollout)
    job = BackfillJob.objects.select_related("step_run__run__rollout").get()
    for page in (PHASE, PAGE, f"/rollout/jobs/{job.pk}/"):
        text = text_of(lead, page)
        # A chart of what was is history; it alone may tell a speed.
        now = text.split('aria-labelledby="throughput"')[0]
        for word in ("</svg>Running<", "Running for", " rows/s", " left<", "Slowed", "Time left"):
            assert word not in now, (page, word)
        assert "Rows per second" not in now
        assert "Paused<" in text
    progress = progress_of(job)
    assert (progress.rows_per_second, progress.left, progress.waiting_for) == (None, None, "")
    assert progress.scanned == 6250, "what was done is told"


def test_a_cancelled_phase_has_no_step_that_runs(rollout: Rollout, lead: Client) -> None:
    reached(ran(rollout, 0, "cancelled"), "compare-schema", "running", waiting_for="a lock")
    text = text_of(lead, f"{PAGE}phases/0/")
    assert "</svg>Running<" not in text
    assert "Waiting for a lock" not in text


def test_a_step_that_a_health_signal_holds_is_reported_as_held(
    rollout: Rollout, lead: Client
) -> None:
    reason = "Replication slot standby is losing WAL."
    run = ran(rollout, 2, "running")
    job = journal.job_of(reached(run, "backfill", "running", waiting_for=reason))
    a_lane(job)
    measured(job, 4)
    for page in (PHASE, PAGE, f"/rollout/jobs/{job.pk}/"):
        text = text_of(lead, page)
        assert f"Paused by a health signal.</strong> {reason}" in text
        assert "The job resumes automatically once the signal is OK." in text
        assert "Time left" not in text
        assert "Rows per second" not in text
    assert " rows/s<" not in text_of(lead, PHASE)
    assert f'href="/rollout/jobs/{job.pk}/#health"' in text_of(lead, PHASE)
    assert "</svg>Paused by signal<" in text_of(lead, PHASE)


def test_a_duration_leaves_time_out_only_where_a_run_stood_still_and_went_on(
    rollout: Rollout, viewer: Client
) -> None:
    for phase in (0, 1):
        ran(rollout, phase)
    now = timezone.now().isoformat()
    run = ran(rollout, 2, "failed", halts=[[now, None]])
    assert "without the time it stood still" not in text_of(viewer, PHASE)
    run.halts = [[now, now], [now, None]]
    run.save(update_fields=["halts"])
    assert ", without the time it stood still" in text_of(viewer, PHASE)
    PhaseRun.objects.filter(pk=run.pk).update(state="queued", finished_at=None)
    text = text_of(viewer, PHASE)
    assert "<dt>Ran for</dt>" in text
    assert "Running for" not in text
