"""How soon a run would stop, said beside the buttons that stop it."""

from datetime import timedelta
from typing import Any

from django.test import Client
from django.utils import timezone

from rollout.models import PhaseRun, Rollout
from tests.console import journal
from tests.console.journal import PAGE, ran, reached, text_of

ATTEMPT = {
    "session": 7,
    "statement": "ALTER TABLE",
    "began_at": "2026-03-01T12:00:00+00:00",
    "attempt": 2,
    "attempts": 30,
    "timeout_ms": 260,
    "next_try_at": "",
    "awaits": "",
    "blockers": [],
    "progress": None,
}


def running(rollout: Rollout, step: str, **fields: Any) -> PhaseRun:
    for phase in (0, 1):
        ran(rollout, phase)
    run = ran(rollout, 2, "running")
    reached(run, step, "running", **fields)
    return run


def test_a_queued_run_stops_before_it_begins(rollout: Rollout, lead: Client) -> None:
    ran(rollout, 0, "queued")
    assert "Pause and cancel take effect before the first step." in text_of(lead, PAGE)


def test_an_engineer_reads_of_no_button_that_is_not_there(
    rollout: Rollout, engineer: Client, viewer: Client
) -> None:
    queued = ran(rollout, 0, "queued")
    assert "Pause takes effect before the first step." in text_of(engineer, PAGE)
    assert "effect before the first step" not in text_of(viewer, PAGE)
    queued.delete()
    run = running(rollout, "backfill")
    job = journal.job_of(run.steps.get(), target_ms=500)
    assert "Pause takes effect within about 800 ms" in text_of(engineer, PAGE)
    job.delete()
    assert "Pause takes effect when the current statement ends." in text_of(engineer, PAGE)
    run.steps.update(activity=ATTEMPT)
    assert "Pause takes effect within about 560 ms." in text_of(engineer, PAGE)


def test_a_backfill_stops_after_a_batch(rollout: Rollout, lead: Client) -> None:
    run = running(rollout, "backfill")
    journal.job_of(run.steps.get(), target_ms=500)
    sentence = "take effect within about 800 ms: a batch (target 500 ms) is finished first."
    for page in (PAGE, f"{PAGE}phases/2/"):
        assert sentence in text_of(lead, page)


def test_a_statement_that_tries_for_a_lock_stops_after_the_attempt(
    rollout: Rollout, lead: Client
) -> None:
    running(rollout, "dual-write", activity=ATTEMPT)
    notice = "Pause takes effect within about 560 ms, cancel within about 300 ms."
    assert notice in text_of(lead, PAGE)


def test_a_statement_without_a_timeout_is_ended_by_cancelling_alone(
    rollout: Rollout, lead: Client
) -> None:
    running(rollout, "dual-write", activity={**ATTEMPT, "attempt": 0, "attempts": 0})
    assert "Pause takes effect when the current statement ends;" in text_of(lead, PAGE)


def test_the_duration_of_the_last_pause_is_measured(rollout: Rollout, lead: Client) -> None:
    run = running(rollout, "dual-write")
    at = timezone.now() - timedelta(minutes=1)
    stood = at + timedelta(milliseconds=420)
    run.pause = {"by": "grace", "rule": "", "at": at.isoformat(), "message": ""}
    run.halts = [[stood.isoformat(), (at + timedelta(seconds=9)).isoformat()]]
    run.save()
    assert "The last pause took 420 ms." in text_of(lead, PAGE)
    failed = (at + timedelta(seconds=20)).isoformat()
    run.halts = [*run.halts, [failed, (at + timedelta(seconds=30)).isoformat()]]
    run.save()
    assert "The last pause took 420 ms." in text_of(lead, PAGE), "a failure is no pause"
    run.halts = [[(at - timedelta(hours=1)).isoformat(), at.isoformat()]]
    run.save()
    assert "The last pause" not in text_of(lead, PAGE), "it stopped for another reason, earlier"


def test_a_run_that_does_not_run_has_nothing_to_stop(rollout: Rollout, lead: Client) -> None:
    for state in ("paused", "pausing", "cancelling", "failed", "done"):
        run = ran(rollout, 0, state)
        assert 'class="small muted stop"' not in text_of(lead, PAGE)
        run.delete()
