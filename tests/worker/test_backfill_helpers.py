"""Several workers on one job: those who help, and the pace that people set for all of them."""

import time
from typing import Any

import pytest

from rollout import runner, tasks
from rollout.engine import commit_latencies as commits
from rollout.engine import lanes, wal_compression
from rollout.engine.commit_latencies import MIN_COMMITS, CommitLatencies
from rollout.engine.control import NullControl
from rollout.engine.pace import Settings
from rollout.engine.throttles import Throttle
from rollout.engine.wal_compression import CHEAP
from rollout.models import BackfillJob, Direction, LogEntry, PhaseRun, Rollout, RunState
from rollout.worker import backfills, runs
from rollout.worker.backfill_helpers import action_of
from tests.support import rollouts
from tests.support.processes import wait_until
from tests.support.rollouts import ADA, the_job

USUAL: dict[str, Any] = {
    "target_ms": 75,
    "duty_percent": 100,
    "rows_per_second": None,
    "workers": 1,
    "commit_limit_ms": None,
}


@pytest.fixture
def halfway(expanded: Rollout, monkeypatch: pytest.MonkeyPatch) -> PhaseRun:
    """A run whose backfill has lanes and has not ended: each slice has room for a batch."""
    monkeypatch.setattr(lanes, "LANE_BLOCKS", 2)
    monkeypatch.setattr(lanes, "FIRST_RANGE_BLOCKS", 1)
    rollouts.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.05); RETURN NULL; END $$;"
        " CREATE TRIGGER slow AFTER UPDATE ON properties FOR EACH STATEMENT EXECUTE FUNCTION slow()"
    )
    monkeypatch.setattr(runs, "SLICE_SECONDS", 0.2)
    run = runner.start(expanded, 2, actor=ADA)
    rollouts.work(until=lambda: BackfillJob.objects.exists())
    return run


def messages(task: str) -> int:
    return sum(m.task.endswith(task) for m in rollouts.queued())


def test_more_workers_are_requested_with_the_next_slice_and_fewer_too(halfway: PhaseRun) -> None:
    assert messages("assist") == 0
    for workers in (3, 1):
        runner.set_pace(the_job(), **{**USUAL, "workers": workers}, actor=ADA)
        rollouts.lose_the_queue()
        PhaseRun.objects.filter(pk=halfway.pk).update(state=RunState.RUNNING)
        tasks.advance(halfway.pk, PhaseRun.objects.get(pk=halfway.pk).token)
        assert messages("assist") == workers - 1
    assert LogEntry.objects.filter(event="pace changed").count() == 2


def test_a_helper_works_on_free_lanes_and_the_job_ends_with_every_row_counted(
    halfway: PhaseRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rollouts.ask("SELECT sum(updated) FROM rollout.lanes")
    tasks.assist(the_job().pk, time.time() + 60)
    assert rollouts.ask("SELECT sum(updated) FROM rollout.lanes") > before
    assert rollouts.ask("SELECT max(holder) FROM rollout.lanes") == ""
    rollouts.execute("DROP TRIGGER slow ON properties")
    # On a busy machine a short slice is over before it comes to a batch.
    monkeypatch.setattr(runs, "SLICE_SECONDS", 5.0)
    rollouts.work_off(halfway)
    job = the_job()
    assert job.updated == 300
    assert job.scanned == job.updated + job.already_right


def test_a_helper_does_nothing_too_late_or_when_the_run_does_not_simply_run(
    halfway: PhaseRun,
) -> None:
    before = rollouts.ask("SELECT sum(updated) FROM rollout.lanes")
    tasks.assist(the_job().pk, time.time() - 1)
    assert rollouts.ask("SELECT sum(updated) FROM rollout.lanes") == before
    for state in (RunState.PAUSED, RunState.CANCELLED, RunState.PAUSING):
        PhaseRun.objects.filter(pk=halfway.pk).update(state=state)
        tasks.assist(the_job().pk, time.time() + 5)
        assert rollouts.ask("SELECT sum(updated) FROM rollout.lanes") == before, state


def test_a_lane_that_went_to_another_worker_does_not_end_the_run(
    halfway: PhaseRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its holder was slow for a while: it takes another lane and continues."""
    rollouts.execute("DROP TRIGGER slow ON properties")
    claim = lanes.claim
    stolen: list[lanes.Lane] = []

    def claim_and_lose(*arguments: object) -> lanes.Lane | None:
        lane = claim(*arguments)  # type: ignore[arg-type]
        if lane is not None and not stolen:
            stolen.append(lane)
            rollouts.execute("UPDATE rollout.lanes SET token = token + 1, lease_until = NULL")
        return lane

    monkeypatch.setattr(lanes, "claim", claim_and_lose)
    monkeypatch.setattr(runs, "SLICE_SECONDS", 5.0)
    rollouts.work()
    assert stolen
    assert rollouts.state_of(halfway) == RunState.DONE
    assert the_job().updated == 300


def test_the_pace_that_is_set_holds_for_a_worker_at_work(halfway: PhaseRun) -> None:
    job = the_job()
    settings = backfills.LiveSettings(job)
    assert settings() == Settings(target_seconds=0.075, duty=1.0, commit_limit_ms=None)
    changed = {"target_ms": 500, "duty_percent": 20, "rows_per_second": 900, "workers": 3}
    runner.set_pace(the_job(), **{**USUAL, **changed}, actor=ADA)
    settings._read_at = float("-inf")
    assert settings() == Settings(target_seconds=0.5, duty=0.2, rows_per_second=300)


def test_a_backfill_of_production_begins_with_the_row_limit_of_the_project(
    expanded: Rollout, settings: Any
) -> None:
    settings.ROLLOUT = {**settings.ROLLOUT, "BACKFILL_ROWS_PER_SECOND": 4000}
    run = runner.start(expanded, 2, actor=ADA)
    rollouts.work(until=lambda: BackfillJob.objects.exists())
    assert the_job().rows_per_second == 4000
    action = action_of(the_job())
    for changed in (
        {"direction": Direction.BACKWARD},
        {"direction": Direction.REPAIR},
        {"rollout": Rollout(plan=expanded.plan, environment="rehearsal-1")},
    ):
        other = PhaseRun(**{"rollout": expanded, "direction": run.direction, **changed})
        assert backfills._rows_per_second(action, other) is None, changed


def test_a_worker_looks_at_its_commits_by_the_limit_of_the_moment(
    halfway: PhaseRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tests' server is fast because it does not wait.
    monkeypatch.setattr(commits, "wait_for_disk", lambda connection: True)
    job = the_job()
    assert rollouts.ask("SELECT min(baseline) FROM rollout.paces") > 0
    with rollouts.target() as connection:
        pace = backfills.worker_of(connection, action_of(job), job, NullControl()).pace
        for _ in range(MIN_COMMITS):
            pace._record(Throttle(), 1)
        runner.set_pace(the_job(), **{**USUAL, "commit_limit_ms": 55_555}, actor=ADA)
        wait_until(
            lambda: 55_555 in {s.bound for s in pace._read_signals() if s.name == commits.NAME}
        )


def test_a_worker_compresses_its_wal_while_others_write(
    halfway: PhaseRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = the_job()
    with rollouts.target() as connection:
        pace = backfills.worker_of(connection, action_of(job), job, NullControl()).pace
        for others_write in (True, False):
            monkeypatch.setattr(CommitLatencies, "others_write", others_write)
            pace._read_signals()
            compression = wal_compression.read(connection)
            assert compression.is_on is (others_write or compression.method == CHEAP)


def test_a_pace_out_of_range_is_refused(halfway: PhaseRun) -> None:
    for name, values in {
        "target_ms": (9, 2001),
        "duty_percent": (4, 101),
        "rows_per_second": (0, 10_000_001),
        "workers": (0, 33),
        "commit_limit_ms": (0, 60_001),
    }.items():
        for value in values:
            with pytest.raises(runner.Refused):
                runner.set_pace(the_job(), **{**USUAL, name: value}, actor=ADA)
    assert the_job().target_ms == 75


def test_the_pace_of_a_job_that_has_ended_is_refused(
    halfway: PhaseRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollouts.execute("DROP TRIGGER slow ON properties")
    monkeypatch.setattr(runs, "SLICE_SECONDS", 5.0)
    rollouts.work()
    with pytest.raises(runner.Refused, match="has ended"):
        runner.set_pace(the_job(), **USUAL, actor=ADA)
