"""A job's page: its pace, who sets it, and what throttles it."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from rollout.engine import commit_latencies
from rollout.engine.commit_latencies import CommitLatencies
from rollout.engine.health import Signal
from rollout.engine.pace_records import PaceRecord
from rollout.engine.throttles import Throttle
from rollout.models import BackfillJob, LogEntry, Rollout, StepRun
from rollout.queries.progress import progress_of
from rollout.telemetry.signals import application_signals
from tests.console import journal
from tests.console.journal import text_of
from tests.console.views.backfill_jobs import a_job, a_lane, an_ended_job, measured, page_of
from tests.support.rollouts import target

HOSTILE = '"><script>alert(1)</script>'
PACE = {"target_ms": "40", "duty_percent": "25", "workers": "3", "commit_limit_ms": "30"}
LIMITED = {**PACE, "rows_per_second": "1200"}


# Pace


@pytest.mark.usefixtures("clean_target")
def test_the_time_left_forgets_the_speed_from_before_the_pace_was_changed(
    rollout: Rollout, engineer: Client
) -> None:
    job = a_job(rollout, rows_per_second=1000)
    job.created_at -= timedelta(minutes=2)
    job.save()
    a_lane(job)
    measured(job, 12)
    limited = progress_of(job).left
    assert limited is not None
    assert limited.shortest > 15
    engineer.post(f"{page_of(job)}pace/", {**PACE, "duty_percent": "100"})
    lifted = progress_of(BackfillJob.objects.get(pk=job.pk)).left
    assert lifted is not None
    assert lifted.shortest == lifted.longest
    assert lifted.shortest < limited.shortest / 5


def test_the_pace_that_somebody_sets_is_kept_and_logged(rollout: Rollout, engineer: Client) -> None:
    job = a_job(rollout)
    response = engineer.post(f"{page_of(job)}pace/", LIMITED, follow=True)
    assert response.redirect_chain == [(page_of(job), 302)]
    text = journal.with_spaces(response.content.decode())
    assert "Throttle settings updated." in text
    assert (
        "40 ms per batch, 25% duty cycle, at most 1,200 rows per second, commit latency limit 30 ms"
        in text
    )
    assert 'value="40"' in text
    job.refresh_from_db()
    assert (job.target_ms, job.duty_percent, job.workers) == (40, 25, 3)
    assert (job.commit_limit_ms, job.rows_per_second) == (30, 1200)
    assert LogEntry.objects.get(event="pace changed").actor == "engineer"
    assert "Limited to 1,200 rows per second and 25% of the time," in text
    assert "as engineer set," in text


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("target_ms", "5", "Minimum is 10."),
        ("target_ms", "9999", "Maximum is 2,000."),
        ("duty_percent", "1.5", "Enter a whole number."),
        ("rows_per_second", "0", "Minimum is 1."),
        ("workers", "", "Enter a number."),
        ("workers", HOSTILE, "Enter a whole number."),
        ("commit_limit_ms", "0", "Minimum is 1."),
    ],
)
def test_a_pace_that_cannot_be_is_reported_beside_its_field_and_kept(
    rollout: Rollout, engineer: Client, field: str, value: str, message: str
) -> None:
    job = a_job(rollout)
    response = engineer.post(f"{page_of(job)}pace/", {**PACE, field: value})
    assert response.status_code == 422
    text = response.content.decode()
    assert message in text
    assert "<script>alert" not in text
    for kept in {**PACE, field: value}.values():
        assert kept == "" or f'value="{kept}"' in text or "&lt;script&gt;" in text
    assert f'hx-get="{page_of(job)}"' in text
    assert f'name="next" value="{page_of(job)}"' in text
    job.refresh_from_db()
    assert (job.target_ms, job.duty_percent, job.workers) == (75, 100, 1)


def test_an_empty_commit_limit_leaves_it_to_the_baseline(
    rollout: Rollout, engineer: Client
) -> None:
    job = a_job(rollout, commit_limit_ms=30)
    engineer.post(f"{page_of(job)}pace/", {**PACE, "commit_limit_ms": ""})
    job.refresh_from_db()
    assert job.commit_limit_ms is None
    assert "commit latency limit" not in text_of(engineer, page_of(job))


def test_the_pace_of_a_job_that_has_ended_stays(rollout: Rollout, lead: Client) -> None:
    job = an_ended_job(rollout)
    text = lead.post(f"{page_of(job)}pace/", PACE, follow=True).content.decode()
    assert "The job has ended. Its throttle settings can no longer change." in text


def test_a_viewer_sees_the_pace_and_no_form(rollout: Rollout, viewer: Client) -> None:
    text = text_of(viewer, page_of(a_job(rollout)))
    assert "75 ms per batch, 100% duty cycle" in text
    assert 'id="set-pace"' not in text


# Health


def test_every_signal_is_shown_by_a_word_while_the_job_runs(
    rollout: Rollout, viewer: Client
) -> None:
    text = text_of(viewer, page_of(a_job(rollout)))
    for shown in ("Long-running transactions", "Lock waits", "WAL", "Transaction ID age"):
        assert shown in text
    assert "OK</span>" in text


def test_a_job_of_a_table_that_the_plan_knows_no_more_has_no_signals(
    rollout: Rollout, viewer: Client
) -> None:
    assert "Lock waits" not in text_of(viewer, page_of(a_job(rollout, table="gone")))


@pytest.mark.usefixtures("clean_target")
def test_afterwards_the_time_lost_to_each_signal_is_shown(rollout: Rollout, viewer: Client) -> None:
    job = an_ended_job(rollout)
    with target() as opened:
        opened.execute(
            "INSERT INTO rollout.losses VALUES (%s, 'old transaction', 12.4), (%s, %s, 3)",
            [job.pk, job.pk, HOSTILE],
        )
    text = text_of(viewer, page_of(job))
    assert "Long-running transactions</dt><dd>12 s</dd>" in text
    assert "<script>alert" not in text
    assert "Lock waits" not in text


SLOW = Signal("commit latency", "throttle", "A small commit takes 61.0 ms.", 61.0, 14.0)


@pytest.mark.usefixtures("clean_target")
def test_a_throttled_job_shows_its_pace_and_each_signal_with_its_value_and_limit(
    rollout: Rollout, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tests' server is fast because it does not wait.
    monkeypatch.setattr(commit_latencies, "wait_for_disk", lambda connection: True)
    job = a_job(rollout, rows_per_second=1112)
    a_lane(job)
    with target() as opened:
        record = PaceRecord(opened, job.pk, "host:7")
        record.latencies = CommitLatencies(4.0, (61.0,) * 5, (90.0,) * 5)
        record.record(Throttle(0.55, SLOW), 1)
    text_of_step = "throttled to 60% of full speed: A small commit takes 61.0 ms."
    StepRun.objects.filter(pk=job.step_run_id).update(waiting_for=text_of_step)
    text = text_of(viewer, page_of(job))
    assert text.count("60% of full speed") == 1
    assert text.count("55.0%") == 1, "only as the lowest pace so far, in the table"
    assert "Limited to 1,112 rows per second," in text
    assert "from the start, by <code>BACKFILL_ROWS_PER_SECOND</code>." in text
    assert "Full speed is this limit. It holds on average:" in text
    assert "Commit latency</strong>" in text
    for shown in (
        "A small commit takes 61.0 ms: baseline 4.0 ms, limit 14.0 ms.",
        "limit 14.0 ms",
    ):
        assert shown in text
    assert '<span>61 ms</span><span class="small muted">limit 14 ms</span>' in text


@pytest.mark.usefixtures("clean_target")
def test_the_time_left_follows_a_throttle_at_once(rollout: Rollout, viewer: Client) -> None:
    job = a_job(rollout)
    created = timezone.now() - timedelta(minutes=3)
    BackfillJob.objects.filter(pk=job.pk).update(created_at=created)
    job.refresh_from_db()
    a_lane(job, scanned=6250, working_seconds=12.5)
    # 500 rows a second, as all its batches: 18,750 rows are left.
    measured(job, 30, scanned=2500)
    before = progress_of(job).left
    assert before is not None
    with target() as opened:
        record = PaceRecord(opened, job.pk, "host:7")
        record.latencies = CommitLatencies(4.0, (61.0,) * 5, (90.0,) * 5)
        record.record(Throttle(0.1, SLOW), 1)
    now = progress_of(job).left
    assert now is not None
    assert now.longest == pytest.approx(18_750 / 50)
    assert before.longest is not None
    assert before.longest < 100
    StepRun.objects.filter(pk=job.step_run_id).update(
        waiting_for="throttled to 10% of full speed: x."
    )
    assert " rows/s in the last 30 s," in text_of(viewer, job.step_run.run.get_absolute_url())


@pytest.mark.usefixtures("clean_target")
def test_afterwards_each_throttle_is_shown_with_its_worst_value_limit_and_lowest_pace(
    rollout: Rollout, viewer: Client
) -> None:
    job = an_ended_job(rollout)
    assert "Throttled by" not in text_of(viewer, page_of(job))
    stop = Signal("application", "stop", HOSTILE, 0.2, 0.05)
    with target() as opened:
        record = PaceRecord(opened, job.pk, "host:7")
        record.record(Throttle(0.55, SLOW), 1)
        record.record(Throttle(0.2, stop, held=True), 1)
    text = text_of(viewer, page_of(job))
    table = text[text.index("Throttled by") :]
    for shown in ("Commit latency", SLOW.reason, ">61 ms<", ">14 ms<", ">55.0%<", ">Paused<"):
        assert shown in table
    for shown in (">20.0%<", ">5.0%<"):
        assert shown in table
    assert "<script>alert" not in text


@pytest.mark.usefixtures("clean_target")
def test_throttles_by_the_application_and_by_guardrails_have_their_worst_value_and_limit(
    rollout: Rollout, viewer: Client
) -> None:
    job = an_ended_job(rollout)
    state = journal.acting(rollout, "slower", "throttle", "broken", value=173.0, bound=71.0)
    run = job.step_run.run
    (by_guardrail,) = [s for s in application_signals(run) if s.name == "rule slower"]
    assert by_guardrail.bound == state.bound
    with target() as opened:
        record = PaceRecord(opened, job.pk, "host:7")
        for cause in (
            Signal("application", "throttle", "It is slow.", 47.0, 46.0),
            by_guardrail,
        ):
            record.record(Throttle(0.55, cause), 1)
    text = text_of(viewer, page_of(job))
    table = text[text.index("Throttled by") :]
    for shown in (">47 ms<", ">46 ms<", ">173 ms<", ">71 ms<"):
        assert shown in table


@pytest.mark.usefixtures("clean_target")
def test_the_hint_of_the_commit_limit_is_the_rule_with_the_limit_that_it_gives(
    rollout: Rollout, lead: Client
) -> None:
    job = a_job(rollout)
    rule = "Empty: twice the baseline, and at least 10 ms above it."
    assert f"{rule}</p>" in text_of(lead, page_of(job))
    a_lane(job)
    with target() as opened:
        record = PaceRecord(opened, job.pk, "host:7")
        record.latencies = CommitLatencies(1.6, (1.5,) * 5, (90.0,) * 5)
        record.record(Throttle(), 1)
    assert f"{rule} At present that is 11.6 ms.</p>" in text_of(lead, page_of(job))


def test_the_pace_has_its_window_while_the_job_runs(rollout: Rollout, viewer: Client) -> None:
    job = a_job(rollout)
    a_lane(job)
    measured(job, 4)
    assert "Rows per second, last 30 s</dt>" in text_of(viewer, page_of(job))
