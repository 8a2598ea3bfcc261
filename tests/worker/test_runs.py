"""What a worker does with a message: once, by its newest token, and to a clear end."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from rollout import runner, tasks
from rollout.engine import ddl
from rollout.engine.control import Control
from rollout.engine.target import Connection
from rollout.models import (
    AuditReport,
    AuditStatus,
    BackfillJob,
    LogEntry,
    PhaseRun,
    Rollout,
    RunState,
    StepRun,
)
from rollout.notifications.kinds import kind_of
from rollout.plan.actions import Statement
from rollout.worker import runs
from rollout.worker.leases import Lease
from tests.support import rollouts
from tests.support.processes import wait_until
from tests.support.rollouts import ADA
from tests.support.threads import at_once


@pytest.fixture
def worker_threads() -> Iterator[list[threading.Thread]]:
    """Threads that work on what was queued, each with a connection of its own."""
    threads: list[threading.Thread] = []
    yield threads
    for thread in threads:
        thread.join()


def begin_work(threads: list[threading.Thread]) -> None:
    threads.append(threading.Thread(target=rollouts.work_in_a_thread))
    threads[-1].start()


def test_the_same_message_delivered_twice_is_run_once(tiny: Rollout) -> None:
    run = runner.start(tiny, 0, actor=ADA)
    (message,) = rollouts.queued()
    message.deliver()
    message.deliver()
    assert rollouts.flow.calls == 2
    assert rollouts.state_of(run) == RunState.DONE
    assert LogEntry.objects.filter(event="phase done").count() == 1


def test_the_same_message_delivered_at_the_same_moment_is_run_once(tiny: Rollout) -> None:
    runner.start(tiny, 0, actor=ADA)
    (message,) = rollouts.queued()
    at_once(*[message.deliver] * 4)
    assert rollouts.flow.calls == 2


def test_a_message_with_an_older_token_is_dropped(tiny: Rollout) -> None:
    run = runner.start(tiny, 0, actor=ADA)
    PhaseRun.objects.filter(pk=run.pk).update(token=5)
    tasks.advance(run.pk, 0)
    tasks.advance(run.pk, 4)
    assert rollouts.flow.calls == 0
    assert rollouts.state_of(run) == RunState.QUEUED
    tasks.advance(run.pk, 5)
    assert rollouts.state_of(run) == RunState.DONE


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_worker_refuses_a_run_of_another_plan_and_changes_nothing(
    tiny: Rollout, direction: str
) -> None:
    run = runner.start(tiny, 0, actor=ADA)
    if direction == "backward":
        rollouts.work()
        run = runner.roll_back(tiny, 0, actor=ADA)
    calls = rollouts.flow.calls
    PhaseRun.objects.filter(pk=run.pk).update(plan_digest="0123456789ab")
    rollouts.work()
    run.refresh_from_db()
    assert run.state == RunState.FAILED
    assert "plan 0123456789ab, but this worker has plan " in run.error
    assert run.advice == (
        "Restart the web processes, workers and watchdog with one release, then retry. "
        "Runbook: Somebody changed the plan in the middle."
    )
    assert rollouts.flow.calls == calls
    assert not run.steps.exists()
    runner.retry(tiny, actor=ADA)
    rollouts.work()
    assert rollouts.state_of(run) == RunState.DONE


@pytest.mark.parametrize("state", ["paused", "cancelled", "failed", "done"])
def test_a_message_for_a_run_that_nobody_works_on_is_dropped(tiny: Rollout, state: str) -> None:
    run = runner.start(tiny, 0, actor=ADA)
    PhaseRun.objects.filter(pk=run.pk).update(state=state)
    rollouts.work()
    assert rollouts.flow.calls == 0
    assert rollouts.state_of(run) == state


def test_a_message_for_a_run_that_is_gone_is_dropped(tiny: Rollout) -> None:
    tasks.advance(4711, 0)
    tasks.audit(4711, 0)


def test_a_worker_whose_work_was_taken_back_writes_no_end(tiny: Rollout) -> None:
    def is_taken_back() -> None:
        PhaseRun.objects.update(token=99, worker="another")

    rollouts.flow.does = is_taken_back
    run = runner.start(tiny, 0, actor=ADA)
    rollouts.work()
    run.refresh_from_db()
    assert (run.state, run.token, run.worker) == (RunState.RUNNING, 99, "another")
    assert not LogEntry.objects.filter(event="phase done").exists()


def test_a_failure_is_reported_with_what_to_do_next(tiny: Rollout) -> None:
    def fails() -> None:
        raise ValueError("Image \x00 uploads do not work.")

    rollouts.flow.does = fails
    run = runner.start(tiny, 0, actor=ADA)
    rollouts.work()
    run.refresh_from_db()
    step = run.steps.get()
    assert run.state == RunState.FAILED
    assert run.error == step.error == "Image  uploads do not work."
    assert run.advice == (
        "Fix the reported problem, then retry; or roll the phase back. Runbook: A phase failed."
    )
    assert step.state == "failed"
    assert run.finished_at is not None
    assert LogEntry.objects.get(event="phase failed").message.endswith(run.error)


def test_work_after_a_retry_is_in_the_name_of_who_retried(expanded: Rollout) -> None:
    run = rollouts.start(expanded, 2)
    runner.cancel(expanded, actor=ADA)
    runner.retry(expanded, actor=rollouts.Person("grace"))
    rollouts.work_off(run)
    made = ("backfill done", "step done", "audit done", "phase done")
    entries = LogEntry.objects.filter(event__in=made, data__run=run.pk)
    assert {entry.actor for entry in entries} == {"grace"}
    assert set(made) - {"audit done"} <= {entry.event for entry in entries}
    assert AuditReport.objects.get(run=run).actor_name == "grace"
    run.refresh_from_db()
    assert run.actor_name != "grace", "who started it stays"


def test_a_step_that_did_something_does_not_say_that_there_was_nothing_to_do(
    expanded: Rollout,
) -> None:
    run = expanded.runs.get(phase=1)
    results = {step.step: step.result for step in run.steps.all()}
    assert results["create-types"] == results["add-property-columns"] == "Applied."


def test_rollback_says_that_it_rolled_back_and_not_that_it_applied(expanded: Rollout) -> None:
    before = LogEntry.objects.latest("pk").pk
    run = rollouts.carry_back(expanded, 1)
    since = LogEntry.objects.filter(pk__gt=before)
    messages = dict(since.values_list("data__step", "message"))
    assert messages["create-types"] == "Create lookup table: property_types: Rolled back."
    steps = since.filter(event="step rolled back")
    assert steps.count() == run.steps.count()
    assert all("olled back" in entry.message or "roll back" in entry.message for entry in steps)
    assert not since.filter(event__in=["step done", "phase done"]).exists()
    assert "pplied" not in " ".join(step.result for step in run.steps.all())


def test_rollback_that_fails_is_reported_as_a_rollback(
    expanded: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> bool:
        raise ValueError("no")

    monkeypatch.setattr("rollout.engine.ddl.apply", fails)
    runner.roll_back(expanded, 1, actor=ADA)
    rollouts.work()
    entry = LogEntry.objects.latest("pk")
    assert (entry.event, kind_of(entry)) == ("rollback failed", "failed")
    assert entry.message == "Rollback of phase 1 failed. no"


def test_a_step_that_the_catalog_shows_as_applied_is_not_applied_again(expanded: Rollout) -> None:
    run = expanded.runs.get(phase=1)
    PhaseRun.objects.filter(pk=run.pk).update(state=RunState.RUNNING)
    StepRun.objects.filter(run=run).update(state="running", actions_done=0, result="")
    tasks.advance(run.pk, PhaseRun.objects.get(pk=run.pk).token)
    assert rollouts.state_of(run) == RunState.DONE
    results = {step.step: step.result for step in run.steps.all()}
    assert results["create-types"] == results["add-property-columns"] == "Already applied."


def test_a_first_run_says_of_no_step_that_a_part_was_done_before(contracted: Rollout) -> None:
    back = rollouts.carry_back(contracted, 4)
    results = StepRun.objects.filter(
        run__in=[back, *contracted.runs.filter(phase__in=(3, 4), direction="forward")]
    )
    assert results.get(step="index-type", run__direction="forward").result == "Applied."
    assert not [row.result for row in results if "part of it" in row.result]


def test_the_end_of_a_backfill_is_counted_once_though_its_worker_dies_there(
    filled: Rollout,
) -> None:
    run = filled.runs.get(phase=2)
    before = BackfillJob.objects.values().get(kind="fill")
    assert before["updated"] == before["scanned"] == 300
    PhaseRun.objects.filter(pk=run.pk).update(state=RunState.RUNNING, finished_at=None)
    step = run.steps.get(step="backfill")
    StepRun.objects.filter(pk=step.pk).update(state="running", actions_done=step.actions_done - 1)
    tasks.advance(run.pk, PhaseRun.objects.get(pk=run.pk).token)
    assert rollouts.state_of(run) == RunState.DONE
    assert BackfillJob.objects.values().get(kind="fill") == before
    ended = LogEntry.objects.filter(event="backfill done", data__job=before["id"])
    assert ended.count() == 1
    assert rollouts.ask("SELECT count(*) FROM rollout.lanes") == 0


def test_a_rollback_undoes_the_steps_that_were_begun_the_newest_first(
    prepared: Rollout, worker_threads: list[threading.Thread]
) -> None:
    with rollouts.locked("LOCK TABLE properties IN ACCESS SHARE MODE"):
        run = rollouts.start(prepared, 1)
        begin_work(worker_threads)
        wait_until(lambda: run.steps.filter(step="add-property-columns").exists())
        runner.cancel(prepared, actor=ADA)
        wait_until(lambda: rollouts.state_of(run) == RunState.CANCELLED)
    back = rollouts.carry_back(prepared, 1)
    assert [step.step for step in back.steps.all()] == [
        "add-property-columns",
        "create-statuses",
        "create-types",
    ]


def test_a_rollback_gives_columns_back_without_the_rights_of_a_role_that_is_gone(
    enforced: Rollout,
) -> None:
    with rollouts.target() as connection:
        connection.execute("CREATE ROLE reads_types")
        try:
            connection.execute("GRANT SELECT (type) ON properties TO reads_types, pg_monitor")
            rollouts.carry_out(enforced, 4)
            connection.execute("DROP OWNED BY reads_types; DROP ROLE reads_types")
            rollouts.carry_back(enforced, 4)
        finally:
            connection.execute("DROP ROLE IF EXISTS reads_types")
    assert rollouts.ask(
        "SELECT array_agg(x.grantee::regrole::text) FROM pg_attribute AS a,"
        " aclexplode(a.attacl) AS x WHERE attrelid = 'properties'::regclass AND attname = 'type'"
    ) == ["pg_monitor"]


def test_a_step_that_waits_for_a_lock_says_for_whose(
    prepared: Rollout, worker_threads: list[threading.Thread]
) -> None:
    with rollouts.locked("LOCK TABLE properties IN ACCESS SHARE MODE") as other:
        pid = other.info.backend_pid
        run = rollouts.start(prepared, 1)
        begin_work(worker_threads)
        wait_until(lambda: run.steps.filter(waiting_for__contains=f"PID {pid}").exists())
    wait_until(lambda: rollouts.state_of(run) == RunState.DONE)
    assert run.steps.get(step="add-property-columns").waiting_for == ""


def test_a_phase_whose_schema_has_drifted_fails_and_names_the_column(properties: Rollout) -> None:
    rollouts.execute("ALTER TABLE properties ALTER price TYPE numeric(14,2)")
    run = runner.start(properties, 0, actor=ADA)
    rollouts.work_off(run, RunState.FAILED)
    assert "properties.price: expected numeric(12,2), found numeric(14,2)" in run.error
    assert "retry" in run.advice


def test_an_audit_that_was_cancelled_within_a_phase_keeps_no_other_waiting(
    expanded: Rollout, worker_threads: list[threading.Thread]
) -> None:
    with rollouts.target() as other:
        run = rollouts.start(expanded, 2)
        reached = run.steps.filter(step="probe-search", state="done")
        with pytest.MonkeyPatch.context() as patch:
            # Stops before the audit, so that the table can be locked just then.
            audit = runs.RunJob._audit
            go_on = threading.Event()
            patch.setattr(
                runs.RunJob, "_audit", lambda self, lease: (go_on.wait(120), audit(self, lease))[1]
            )
            begin_work(worker_threads)
            wait_until(lambda: reached.exists())
            with other.transaction():
                other.execute("LOCK TABLE properties IN ACCESS EXCLUSIVE MODE")
                go_on.set()
                wait_until(lambda: AuditReport.objects.filter(run=run).exists())
                runner.cancel(expanded, actor=ADA)
                wait_until(lambda: rollouts.state_of(run) == RunState.CANCELLED)
    report = AuditReport.objects.get(run=run)
    assert report.status == AuditStatus.INCONCLUSIVE
    assert report.message == "The phase was cancelled before the audit finished."
    runner.start_audit(expanded, actor=ADA)


def test_an_index_whose_build_was_cut_off_is_cleared_away_when_its_run_continues(
    filled: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step's first action, which clears such an index away, had been written down as done."""
    run = rollouts.start(filled, 3)
    apply = ddl.apply
    index = "properties_type_id_idx"

    def cut_off(
        connection: Connection, statement: Statement, control: Control, **more: Any
    ) -> bool:
        done = apply(connection, statement, control, **more)
        if statement.text.startswith("CREATE INDEX") and index in statement.text:
            connection.execute(
                "UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass(%s)", [index]
            )
            raise SystemExit("killed")
        return done

    monkeypatch.setattr(ddl, "apply", cut_off)
    with pytest.raises(SystemExit):
        rollouts.work()
    monkeypatch.undo()
    assert StepRun.objects.get(run=run, step="index-type").actions_done == 1
    run.refresh_from_db()
    tasks.advance(run.pk, run.token)
    rollouts.work()
    run.refresh_from_db()
    assert (run.state, run.error) == (RunState.DONE, "")


def test_a_mismatch_stops_the_phase_and_says_how_many(expanded: Rollout) -> None:
    run = rollouts.start(expanded, 2)

    with pytest.MonkeyPatch.context() as patch:
        audit = runs.RunJob._audit

        def spoiled(self: runs.RunJob, lease: Lease) -> str:
            with rollouts.target() as other:
                other.execute("ALTER TABLE properties DISABLE TRIGGER USER")
                other.execute(
                    "UPDATE properties SET currency = 'EUR' WHERE id IN"
                    " (SELECT id FROM properties ORDER BY id LIMIT 3)"
                )
                other.execute("ALTER TABLE properties ENABLE TRIGGER USER")
            return audit(self, lease)

        patch.setattr(runs.RunJob, "_audit", spoiled)
        rollouts.work()
    run.refresh_from_db()
    assert run.state == RunState.FAILED
    assert "is mismatched: 3 of 300 rows" in run.error
    assert AuditReport.objects.get(run=run).categories["computed_differs"] == 3
    assert "retry" in run.advice


def test_a_step_is_measured_from_where_the_step_before_it_ended(expanded: Rollout) -> None:
    steps = list(StepRun.objects.filter(run__phase=1).order_by("position"))
    begins = [step.began_with["wal"] for step in steps]
    ends = [step.began_with["wal"] + (step.wal_bytes or 0) for step in steps]
    assert begins[1:] == ends[:-1]
    assert ends[-1] > begins[0]
