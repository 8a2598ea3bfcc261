"""Pauses of a run: who asked for them, and the time that they take off."""

from datetime import datetime, timedelta

from django.test import Client
from django.utils import timezone

from rollout import runner
from rollout.journal.transitions import move
from rollout.models import Rollout, RunState
from rollout.queries.progress import took
from rollout.queries.status import duration_of
from tests.console import journal
from tests.console.journal import PAGE, ran, reached, text_of
from tests.support.rollouts import ADA


def test_the_time_that_a_phase_takes_leaves_pauses_and_stops_out(rollout: Rollout) -> None:
    run = ran(rollout, 2, "running", started_at=timezone.now())

    def an_hour_later(to: RunState) -> None:
        assert run.started_at is not None
        run.started_at -= timedelta(hours=1)
        run.halts = [[earlier(began), earlier(ended)] for began, ended in run.halts]
        run.save()
        assert move(run, to)

    ways = (
        *(RunState.PAUSING, RunState.PAUSED, RunState.QUEUED, RunState.RUNNING),
        *(RunState.FAILED, RunState.QUEUED, RunState.RUNNING),
        *(RunState.CANCELLING, RunState.CANCELLED, RunState.QUEUED, RunState.RUNNING),
    )
    for to in ways:
        an_hour_later(to)
    assert len(run.halts) == 3
    assert all(ended for _began, ended in run.halts)
    # Of eleven hours it stood still for three times two, from each stop until a worker took it up.
    five = timedelta(hours=5)
    time = duration_of(run)
    assert time is not None
    assert five <= time < five + timedelta(minutes=1)
    now = timezone.now()
    step = reached(run, "backfill", started_at=run.started_at, finished_at=now)
    job = journal.job_of(step, finished_at=now)
    assert run.started_at is not None
    job.created_at = run.started_at
    of_job = took(job)
    assert of_job is not None
    assert five <= of_job < five + timedelta(minutes=1)


def earlier(moment: str | None) -> str | None:
    return moment and (datetime.fromisoformat(moment) - timedelta(hours=1)).isoformat()


def test_a_pause_keeps_who_asked_for_it_also_before_a_worker_came(
    rollout: Rollout, lead: Client
) -> None:
    ran(rollout, 0, "queued")
    runner.pause(rollout, actor=ADA)
    assert "Paused by ada</strong>" in text_of(lead, f"{PAGE}phases/0/")
