"""Rows that the database refuses, from the journal's side: the stop, the retry, the counters."""

import threading

import pytest
from django.db import OperationalError, connection

from rollout import runner
from rollout.engine import quarantine
from rollout.models import BackfillJob, LogEntry, PhaseRun, Rollout, RunState
from rollout.queries.progress import progress_of
from tests.support import rollouts
from tests.support.processes import wait_until
from tests.support.rollouts import ADA, the_job

# Of the worker's session in the journal, which waits for the job's row.
COUNTING = """
SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'
   AND query LIKE '%%rollout_backfilljob%%' AND pid <> pg_backend_pid()
"""
NO_TYPE = "SELECT count(*) FROM properties WHERE property_type_id IS NULL"


def refuse(rows: int) -> None:
    """So many rows are not to be written: a constraint of the user's that they break already."""
    rollouts.execute(
        "ALTER TABLE properties ADD CONSTRAINT picky CHECK (title <> 'poison') NOT VALID"
    )
    with rollouts.target() as other:
        other.execute("ALTER TABLE properties DROP CONSTRAINT picky")
        other.execute(
            "UPDATE properties SET title = 'poison' WHERE id IN"
            " (SELECT id FROM properties ORDER BY id LIMIT %s)",
            [rows],
        )
        other.execute(
            "ALTER TABLE properties ADD CONSTRAINT picky CHECK (title <> 'poison') NOT VALID"
        )


def allow() -> None:
    rollouts.execute("ALTER TABLE properties DROP CONSTRAINT picky")


def kept_aside(job: BackfillJob) -> int:
    with rollouts.target() as connection:
        return quarantine.count(connection, job.pk)


def start(rollout: Rollout) -> PhaseRun:
    run = runner.start(rollout, 2, actor=ADA)
    rollouts.work()
    run.refresh_from_db()
    return run


def test_a_few_refused_rows_do_not_stop_the_backfill_and_the_audit_then_names_them(
    expanded: Rollout,
) -> None:
    refuse(5)
    run = start(expanded)
    job = the_job()
    assert job.finished_at is not None
    assert (job.scanned, job.updated, job.already_right, job.quarantined) == (300, 295, 0, 5)
    result = run.steps.get(step="backfill").result
    assert "5 quarantined" in result
    assert progress_of(job).quarantined == kept_aside(job) == 5
    # They lack their values still: what follows may not begin.
    assert run.state == RunState.FAILED
    assert "5 of 300 rows" in run.error


def test_refused_rows_are_written_when_their_cause_is_gone_and_the_counters_follow(
    expanded: Rollout,
) -> None:
    refuse(5)
    run = start(expanded)
    runner.retry_quarantined(the_job(), actor=ADA)
    rollouts.work()
    assert kept_aside(the_job()) == 5, "the cause is still there"
    allow()
    runner.retry_quarantined(the_job(), actor=ADA)
    rollouts.work()
    job = the_job()
    assert (job.scanned, job.updated, job.already_right, job.quarantined) == (300, 300, 0, 0)
    assert kept_aside(job) == rollouts.ask(NO_TYPE) == 0
    written = [e.data["written"] for e in LogEntry.objects.filter(event="quarantine retried")]
    assert sorted(written) == [0, 5]
    runner.retry(expanded, actor=ADA)
    rollouts.work_off(run)


def test_a_retry_that_dies_before_its_rows_are_counted_is_made_up_for_by_the_next(
    expanded: Rollout,
) -> None:
    refuse(5)
    start(expanded)
    allow()
    runner.retry_quarantined(the_job(), actor=ADA)
    worker = threading.Thread(target=work_until_cut_off)
    with rollouts.locked(f"SELECT FROM rollout_backfilljob WHERE id = {the_job().pk} FOR UPDATE"):
        worker.start()
        wait_until(lambda: bool(rollouts.ask(COUNTING)))
        # The rows are committed by then: their count is what the worker waits for.
        assert kept_aside(the_job()) == rollouts.ask(NO_TYPE) == 0
        rollouts.execute(f"SELECT pg_terminate_backend(({COUNTING}))")
        worker.join()
    job = the_job()
    assert (job.updated, job.quarantined) == (295, 5)
    rollouts.lose_the_queue()
    for _number in range(2):
        runner.retry_quarantined(job, actor=ADA)
        rollouts.work()
    job = the_job()
    assert (job.scanned, job.updated, job.already_right, job.quarantined) == (300, 300, 0, 0)
    written = [e.data["written"] for e in LogEntry.objects.filter(event="quarantine retried")]
    assert sorted(written) == [0, 5]


def work_until_cut_off() -> None:
    try:
        with pytest.raises(OperationalError):
            rollouts.work()
    finally:
        connection.close()


def test_too_many_refused_rows_stop_the_phase_and_say_what_to_do(expanded: Rollout) -> None:
    refuse(200)
    run = start(expanded)
    assert run.state == RunState.FAILED
    assert "the limit is 50" in run.error
    job = the_job()
    assert job.finished_at is None
    assert 50 < kept_aside(job) == progress_of(job).quarantined < 200
    assert progress_of(job).already_right >= 0


def test_a_retry_after_the_cause_is_gone_writes_what_had_been_refused_too(
    expanded: Rollout,
) -> None:
    refuse(200)
    run = start(expanded)
    allow()
    runner.retry(expanded, actor=ADA)
    rollouts.work()
    run.refresh_from_db()
    assert run.error == ""
    assert run.state == RunState.DONE
    job = the_job()
    assert (job.updated, job.quarantined) == (300, 0)
    assert job.scanned == job.updated + job.already_right
    assert rollouts.ask(NO_TYPE) == 0


def test_a_retry_before_the_cause_is_gone_stops_again(expanded: Rollout) -> None:
    refuse(200)
    run = start(expanded)
    for _attempt in range(6):
        runner.retry(expanded, actor=ADA)
        rollouts.work_off(run, RunState.FAILED)
    assert rollouts.ask(NO_TYPE) >= 200
    assert the_job().finished_at is None


def test_refused_rows_are_not_tried_again_while_the_job_is_at_work(expanded: Rollout) -> None:
    run = start(expanded)
    PhaseRun.objects.filter(pk=run.pk).update(state=RunState.RUNNING)
    with pytest.raises(runner.Refused, match="is running"):
        runner.retry_quarantined(the_job(), actor=ADA)
