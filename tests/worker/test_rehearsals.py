"""A plan is run in a database of its own, forward and back, and what it did is reported."""

import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.db import connection
from django.utils import timezone
from psycopg import sql

from rollout import runner
from rollout.engine.control import Control, NullControl, pause
from rollout.journal.environments import target_of, target_of_made
from rollout.models import (
    Environment,
    LogEntry,
    Observation,
    PhaseRun,
    Rehearsal,
    RehearsalState,
    Rollout,
    RunState,
    Snapshot,
    StepRun,
)
from rollout.notifications.kinds import kind_of
from rollout.plan import DropOldName, DropTable, Plan, RenameTable, Step, plans
from rollout.plan.actions import Statement
from rollout.plan.plan import EXPAND
from rollout.worker import leases, rehearsal_observers, rehearsals
from tests.support import rollouts
from tests.support.intervals import QUICK_REHEARSALS
from tests.support.processes import Running, manage_process, stopped_after, wait_until
from tests.support.rollouts import ADA, PLAN, Person
from tests.support.servers import Database, manage

pytestmark = [
    pytest.mark.xdist_group("rehearsals"),
    pytest.mark.usefixtures("clean_storage", "no_environment_is_left"),
]


@pytest.fixture
def qcluster(committed_db: Database, tmp_path: Path) -> Iterator[Running]:
    """One whose traffic has less time for itself."""
    env = committed_db.env(LOG_LEVEL="INFO", **QUICK_REHEARSALS)
    with stopped_after(manage_process("qcluster", env=env, log=tmp_path / "qcluster.log")) as it:
        it.wait_for(lambda: "running" in it.output())
        yield it


def rehearsed(rollout: Rollout, *, keep: bool = False) -> Rehearsal:
    """A rehearsal that a worker in this process brought to its end."""
    rehearsal = runner.rehearse(rollout, keep=keep, actor=ADA)
    rollouts.work()
    rehearsal.refresh_from_db()
    return rehearsal


def summary_of(rehearsal: Rehearsal) -> str:
    rehearsal.refresh_from_db()
    runs = [str(run) for run in rehearsal.sandbox.runs.all()]
    return f"{rehearsal} {rehearsal.activity} {rehearsal.error} {rehearsal.advice} {runs}"


def exists(made: Environment) -> bool:
    return bool(rollouts.ask("SELECT count(*) FROM pg_database WHERE datname = %s", made.database))


@dataclass(frozen=True, kw_only=True)
class Spoils(Step):
    """A step whose rollback leaves something behind."""

    up: str
    down: str
    phases = frozenset({EXPAND})

    def forward(self, plan: Plan) -> tuple[Statement, ...]:
        return (Statement(sql=sql.SQL("{}").format(sql.SQL(self.up)), done=None),)

    def backward(self, plan: Plan) -> tuple[Statement, ...]:
        return (Statement(sql=sql.SQL("{}").format(sql.SQL(self.down)), done=None),)


def with_step(step: Step, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """The property plan, with one more step in phase 1."""
    plan = replace(plans.get(PLAN), **changes)
    phases = list(plan.phases)
    phases[1] = replace(phases[1], steps=(*phases[1].steps, step))
    changed = replace(plan, phases=tuple(phases))  # type: ignore[arg-type]
    monkeypatch.setattr(plans, "_plans", [changed])


def test_real_workers_carry_the_plan_forward_and_back_though_one_is_killed(
    properties: Rollout,
    snapshot: Snapshot,
    qcluster: Running,
    watchdog: Running,
    committed_db: Database,
) -> None:
    Snapshot.objects.filter(pk=snapshot.pk).update(then_rehearse=True)
    wait_until(Rehearsal.objects.exists, seconds=60, seen=watchdog.output)
    rehearsal = Rehearsal.objects.get()
    assert rehearsal.actor_name == snapshot.actor_name
    first = Observation.objects.filter(run__rollout=rehearsal.sandbox, run__phase=2)
    wait_until(
        lambda: first.exists() or not Rehearsal.objects.get().under_way,
        seconds=90,
        seen=lambda: summary_of(rehearsal) + qcluster.output(),
    )
    rehearsal.refresh_from_db()
    psutil.Process(int(rehearsal.worker.split(":")[1])).send_signal(signal.SIGKILL)
    wait_until(
        lambda: not Rehearsal.objects.get().under_way,
        seconds=120,
        seen=lambda: summary_of(rehearsal) + qcluster.output(),
    )
    rehearsal.refresh_from_db()
    assert rehearsal.state == RehearsalState.PASSED, summary_of(rehearsal)
    # More where a busy machine lets a lease run out.
    assert rehearsal.attempts >= 2
    runs = [(run.phase, run.direction) for run in rehearsal.sandbox.runs.order_by("pk")]
    forward, backward = (
        [(n, "forward") for n in range(5)],
        [(n, "backward") for n in range(4, -1, -1)],
    )
    assert runs == forward + backward
    assert {run.state for run in rehearsal.sandbox.runs.all()} == {RunState.DONE}
    assert not PhaseRun.objects.filter(rollout=properties).exists(), "production is left alone"
    assert (rehearsal.catalog_differences, rehearsal.data_differences) == ([], [])
    assert rehearsal.untouched_rows + rehearsal.written_rows >= 300
    assert rehearsal.written_rows > 0
    assert not exists(rehearsal.environment)
    assert rehearsal.baseline_traffic["operations"] > 0
    whole = Observation.objects.filter(run__rollout=rehearsal.sandbox, step_run=None)
    assert whole.count() == 10
    assert sum(operation.operations for operation in whole) > 20
    assert {operation.errors for operation in whole} == {0}
    step = StepRun.objects.get(
        run__rollout=rehearsal.sandbox, run__direction="forward", step="backfill"
    )
    assert step.wal_bytes is not None
    assert step.wal_bytes > 10_000
    assert rehearsal.lock_poll_ms is not None
    assert rehearsal.longest_wait_ms is not None
    output = manage("rollout", "rehearse", PLAN, "--last", url=committed_db.url)
    assert "round trip clean: " in output
    assert "4 contract  forward" in output


def test_a_failed_rehearsal_names_differences_failures_and_waits_and_keeps_the_database(
    properties: Rollout, short_plan: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_step(
        Spoils(
            id="spoil",
            description="Make a note of it, and hold the table for long",
            up="CREATE TABLE notes (); ALTER TABLE properties ALTER title SET DEFAULT 'x';"
            " LOCK TABLE properties IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(2)",
            # The traffic continues after it, and may write some of them itself.
            down="UPDATE properties SET city = 'Lost' WHERE id IN (SELECT id"
            " FROM rollout_rehearsal.before_0 ORDER BY id LIMIT 5)",
        ),
        monkeypatch,
        traffic="tests.support.traffic.failing",
    )
    rehearsal = rehearsed(properties)
    assert rehearsal.state == RehearsalState.FAILED, summary_of(rehearsal)
    assert rehearsal.compared_at, summary_of(rehearsal)

    runs = [(run.phase, run.direction) for run in rehearsal.sandbox.runs.order_by("pk")]
    assert rehearsal.first_phase == 1, "it begins where its snapshot stood"
    assert runs == [(0, "forward"), (1, "forward"), (1, "backward")]

    assert rehearsal.catalog_differences == [
        "table notes was not removed by the rollback.",
        "table properties, default title: was absent, now 'x'::text.",
    ]
    assert 1 <= len(rehearsal.data_differences) <= 5, rehearsal.data_differences
    assert all('is "Lost"' in difference for difference in rehearsal.data_differences)
    assert "The rollback left differences" in rehearsal.error
    # While the table is locked there are few; on a busy machine none of them may fail.
    failed = r"application operations failed, for example in (rollback of )?phase 1: ValueError: "
    assert re.search(failed, rehearsal.error), rehearsal.error
    assert "ValueError: The application is broken." in rehearsal.error

    seen = Observation.objects.get(
        run__rollout=rehearsal.sandbox, run__direction="forward", step_run__step="spoil"
    )
    (lock,) = [lock for lock in seen.locks if lock["mode"] == "AccessExclusiveLock"]
    assert lock["table"] == "properties"
    assert lock["held_ms"] is not None, "the observer looked several times while it was held"
    assert lock["held_ms"] > 480
    assert seen.longest_ms is not None
    assert seen.longest_ms > 300
    assert rehearsal.baseline_traffic["longest_ms"] < seen.longest_ms

    with target_of_made(rehearsal.environment).connect() as opened:
        assert opened.execute("SELECT count(*) FROM properties").fetchone() != (0,)
    monkeypatch.undo()
    runner.rehearse(properties, actor=ADA)
    monkeypatch.setattr(rehearsals.RehearsalJob, "_run_phases", lambda _self: None)
    rollouts.work()
    assert not exists(rehearsal.environment), "the next rehearsal takes its place"


def test_a_rehearsal_leaves_a_run_to_who_holds_it_and_fails_with_the_error_of_a_step(
    properties: Rollout, short_plan: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_step(
        Spoils(id="fail", description="Divide", up="SELECT 1/0", down="SELECT 1"), monkeypatch
    )
    real_begin = rehearsals.begin_in_rehearsal
    held: dict[int, int] = {}

    def begin(*args: Any, **named: Any) -> PhaseRun:
        """Another worker is first to claim the run."""
        run = real_begin(*args, **named)
        assert leases.claim(run, run.token)
        PhaseRun.objects.filter(pk=run.pk).update(worker="elsewhere:1")
        held[run.pk] = run.token
        return run

    def wait(seconds: float, control: Control) -> None:
        """The watchdog takes it back from that worker, as it would from a dead one."""
        for run in PhaseRun.objects.filter(pk__in=held, worker="elsewhere:1"):
            assert run.token == held[run.pk], "taken from the worker that holds it"
            leases.take_back(run)
        pause(seconds, control)

    monkeypatch.setattr(rehearsals, "begin_in_rehearsal", begin)
    monkeypatch.setattr(rehearsals, "pause", wait)
    rehearsal = rehearsed(properties)
    sandboxed = rehearsal.sandbox.runs.filter(pk__in=held)
    assert {run.pk: run.token - 2 for run in sandboxed} == held
    assert rehearsal.state == RehearsalState.FAILED
    assert "Phase 1 failed: division by zero" in rehearsal.error
    assert exists(rehearsal.environment)
    assert rehearsal.compared_at is None
    runner.drop_database(rehearsal, actor=ADA)
    assert not exists(rehearsal.environment)


def test_traffic_that_cannot_begin_is_reported_with_its_reason(committed_db: Database) -> None:
    plan = replace(plans.get(PLAN), traffic="tests.support.traffic.nowhere")
    observer = rehearsal_observers.Observer(
        plan, target=target_of("production").parameters, database=connection.settings_dict, seed=1
    )
    with (
        observer,
        pytest.raises(rehearsal_observers.ObserverDied, match=r"tests\.support\.traffic"),
    ):
        observer.wait_until_ready(NullControl())


def test_another_rollouts_phase_gets_the_worker_in_between_and_a_cancelled_one_leaves_nothing(
    properties: Rollout, short_plan: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearsal = runner.rehearse(properties, actor=ADA)
    with pytest.raises(runner.Refused, match=f"ada's rehearsal {rehearsal.pk} is running"):
        runner.rehearse(properties, actor=ADA)
    waiting = runner.roll_back(properties, 0, actor=ADA)
    PhaseRun.objects.filter(pk=waiting.pk).update(created_at=timezone.now() - timedelta(seconds=9))
    monkeypatch.setattr("rollout.worker.runs.SLICE_SECONDS", 0.0)
    real = rehearsal_observers.Notes.write

    def cancel(self: rehearsal_observers.Notes, run: PhaseRun) -> None:
        real(self, run)
        is_running = Rehearsal.objects.get().state == RehearsalState.RUNNING
        if is_running and rollouts.state_of(waiting) == RunState.DONE:
            runner.cancel_rehearsal(rehearsal, actor=Person("grace"))
            with pytest.raises(runner.Refused, match="is being cancelled"):
                runner.cancel_rehearsal(rehearsal, actor=ADA)

    monkeypatch.setattr(rehearsal_observers.Notes, "write", cancel)
    order: list[str] = []
    while (message := rollouts.deliver_next()) is not None:
        order.append(message.task.rpartition(".")[2])
    assert rollouts.state_of(waiting) == RunState.DONE
    assert order.count("rehearse") >= 2, order
    rehearsal.refresh_from_db()
    assert rehearsal.state == RehearsalState.CANCELLED, summary_of(rehearsal)
    assert not exists(rehearsal.environment)
    assert not rehearsal.sandbox.runs.filter(state__in=["queued", "running"]).exists()
    with pytest.raises(runner.Refused, match="nothing to cancel"):
        runner.cancel_rehearsal(rehearsal, actor=ADA)
    events = LogEntry.objects.filter(event__startswith="rehearsal").values_list("event", flat=True)
    assert set(events) == {
        *("rehearsal asked for", "rehearsal cancel asked for", "rehearsal cancelled")
    }
    ended = LogEntry.objects.get(event="rehearsal cancelled")
    assert (ended.actor, kind_of(ended)) == ("grace", "failed"), "by who cancelled it"


def test_tables_that_a_plan_drops_and_renames_go_and_come_back_in_a_rehearsal(
    properties: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE old_things (id serial PRIMARY KEY);"
            "CREATE TABLE prices (id serial PRIMARY KEY, note text)"
        )
    rename = RenameTable(id="rename", description="Rename it", name="prices", to="price")
    steps = {
        3: (rename,),
        4: (
            DropTable(id="drop-old", description="Drop it", name="old_things"),
            DropOldName(id="drop-name", description="Drop the old name", of=rename),
        ),
    }
    plan = plans.get(PLAN)
    phases = [
        replace(phase, steps=(*phase.steps, *steps.get(number, ())))
        for number, phase in enumerate(plan.phases)
    ]
    monkeypatch.setattr(plans, "_plans", [replace(plan, phases=tuple(phases))])  # type: ignore[arg-type]
    monkeypatch.setattr(rehearsals, "BETWEEN_SECONDS", 0.1)
    monkeypatch.setattr(rehearsals, "BASELINE_SECONDS", 0.3)
    rollouts.snapshot_of(properties)
    rehearsal = rehearsed(properties)
    assert rehearsal.state == RehearsalState.PASSED, summary_of(rehearsal)
    assert (rehearsal.catalog_differences, rehearsal.data_differences) == ([], [])
