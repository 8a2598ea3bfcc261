"""A fill from the journal's side: its job, its slices, its final sweep."""

import threading
import traceback
from pathlib import Path
from typing import Any

import psycopg
import pytest

import rollout
from rollout import runner
from rollout.models import BackfillJob, LogEntry, Rollout, RunState
from rollout.queries.progress import progress_of
from rollout.worker import backfills, runs
from tests.support import rollouts
from tests.support.processes import wait_until
from tests.support.rollouts import ADA


def test_scanned_rows_were_updated_or_already_right(expanded: Rollout) -> None:
    rollouts.carry_out(expanded, 2)
    job = BackfillJob.objects.get(kind="fill")
    assert (job.scanned, job.updated, job.already_right) == (300, 300, 0)
    (entry,) = LogEntry.objects.filter(event="backfill done", data__job=job.pk)
    assert entry.data["scanned"] == 300
    progress = progress_of(job)
    assert (progress.done, progress.fraction, progress.already_right) == (True, 1.0, 0)


def test_the_planner_knows_the_values_of_filled_columns_at_once(filled: Rollout) -> None:
    known = rollouts.ask(
        "SELECT count(*) FROM pg_stats WHERE tablename = 'properties'"
        " AND attname IN ('property_type_id', 'currency', 'is_listed')"
    )
    assert known == 3


def test_rows_written_before_the_scan_came_by_are_counted_as_already_right(
    expanded: Rollout,
) -> None:
    runner.start(expanded, 2, actor=ADA)
    with pytest.MonkeyPatch.context() as patch:
        job_of = backfills.job_of

        def somebody_writes_first(*arguments: object) -> BackfillJob:
            rollouts.execute(
                "UPDATE properties SET price = 1 WHERE property_type_id IS NULL AND id IN"
                " (SELECT id FROM properties ORDER BY id LIMIT 40)"
            )
            return job_of(*arguments)  # type: ignore[arg-type]

        patch.setattr(backfills, "job_of", somebody_writes_first)
        rollouts.work()
    job = BackfillJob.objects.get(kind="fill")
    # A row that was written moved, and a row that moved ahead of the scan is met there.
    assert (job.scanned, job.updated, job.already_right) == (300, 260, 40)


def test_each_frame_from_the_task_to_the_executed_update_is_one_level_down(
    expanded: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = Path(rollout.__file__).parent
    stacks: list[list[str]] = []
    execute = psycopg.Connection.execute

    def execute_and_look(
        connection: psycopg.Connection[Any], query: Any, *arguments: Any, **options: Any
    ) -> Any:
        frames = [f for f in traceback.extract_stack() if package in Path(f.filename).parents]
        if frames and frames[-1].name == "update_rows":
            stacks.append([frame.name for frame in frames])
        return execute(connection, query, *arguments, **options)

    runner.start(expanded, 2, actor=ADA)
    (message,) = rollouts.queued()
    monkeypatch.setattr(psycopg.Connection, "execute", execute_and_look)
    message.deliver()
    assert message.task == "rollout.tasks.advance"
    assert stacks[0] == [
        *("carry_out", "work", "_run_step", "_run_action", "run_job"),
        *("run_lanes", "run_lane", "_run_batch", "update_rows"),
    ]


def test_a_table_without_rows_is_filled_at_once(committed_db: object) -> None:
    run = rollouts.carry_out(rollouts.the_rollout(), 0, 1, 2)
    job = BackfillJob.objects.get(kind="fill")
    assert (job.scanned, job.updated) == (0, 0)
    assert run.steps.get(step="audit").result == "0 rows compared, 0 mismatches."


def test_a_slice_ends_after_its_time_and_the_next_continues_where_it_was(
    expanded: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollouts.load_listings(2000)
    monkeypatch.setattr(runs, "SLICE_SECONDS", 0.25)
    # Each batch takes so long that a slice has room for a few.
    rollouts.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.1); RETURN NULL; END $$;"
        " CREATE TRIGGER slow AFTER UPDATE ON properties FOR EACH STATEMENT EXECUTE FUNCTION slow()"
    )
    run = runner.start(expanded, 2, actor=ADA)
    slices = 0
    while rollouts.deliver_next():
        slices += 1
        # Where the machine is so slow that a slice is over before its first batch.
        monkeypatch.setattr(runs, "SLICE_SECONDS", 0.25 * 2**slices)
    assert slices >= 2
    assert rollouts.state_of(run) == RunState.DONE
    job = BackfillJob.objects.get(kind="fill")
    assert job.updated == rollouts.ask("SELECT count(*) FROM properties")
    # A row that its own update moved ahead of the scan is met again, and is right by then.
    assert job.scanned == job.updated + job.already_right
    assert job.already_right < job.updated / 20


def test_progress_counts_rows_while_the_backfill_runs(expanded: Rollout) -> None:
    row = rollouts.ask("SELECT max(ctid)::text FROM properties")
    worker = threading.Thread(target=rollouts.work_in_a_thread)
    # Its row, the last one, holds the backfill up just before the end.
    with rollouts.locked(f"SELECT FROM properties WHERE ctid = '{row}' FOR UPDATE"):
        run = runner.start(expanded, 2, actor=ADA)
        worker.start()
        wait_until(lambda: run.steps.filter(waiting_for__startswith="rows locked").exists())
        progress = progress_of(BackfillJob.objects.get(kind="fill"))
        assert not progress.done
        assert progress.scanned == progress.updated + progress.already_right <= 300
        assert (
            300
            > progress.updated
            == rollouts.ask("SELECT count(*) FROM properties WHERE property_type_id IS NOT NULL")
        )
        assert progress.waiting_for == "rows locked by the application"
        runner.cancel(expanded, actor=ADA)
        wait_until(lambda: rollouts.state_of(run) == RunState.CANCELLED)
    worker.join()
    runner.retry(expanded, actor=ADA)
    rollouts.work_off(run)
    assert BackfillJob.objects.get(kind="fill").scanned == 300


def test_a_trigger_that_swallows_updates_is_named_when_rows_remain(expanded: Rollout) -> None:
    rollouts.execute(
        "CREATE FUNCTION stay() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF OLD.price > 0 THEN RETURN NULL; END IF; RETURN NEW; END $$"
    )
    rollouts.execute(
        "CREATE TRIGGER stay BEFORE UPDATE ON properties FOR EACH ROW EXECUTE FUNCTION stay()"
    )
    run = rollouts.start(expanded, 2)
    rollouts.work_off(run, RunState.FAILED)
    assert "Still incorrect after 5 passes: " in run.error
    assert " of properties. stay may discard their updates" in run.error
    rollouts.execute("DROP FUNCTION stay CASCADE")
    runner.retry(expanded, actor=ADA)
    rollouts.work_off(run)
    job = BackfillJob.objects.get(kind="fill")
    assert (job.scanned, job.updated, job.rewritten, job.rounds) == (300, 300, 0, 6)
