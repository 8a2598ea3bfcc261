"""Carries a plan's actions out in order, as a worker does, without a journal."""

import itertools
from collections.abc import Iterator
from typing import Any

from django.utils.module_loading import import_string

from rollout.engine import backfill, copy_batches, ddl, lane_totals, lanes, planner, quarantine
from rollout.engine.audit import AuditResult, run_audit
from rollout.engine.backfill import Worker
from rollout.engine.catalog import compare, labels_of, read
from rollout.engine.control import Control, Interrupted
from rollout.engine.lane_totals import Totals
from rollout.engine.lanes import Lane
from rollout.engine.statement_activities import StatementActivity
from rollout.engine.target import Connection, Target, fetch_bool
from rollout.plan import Plan, Step
from rollout.plan.actions import (
    Action,
    Audit,
    CompareSchema,
    Compute,
    Fill,
    Pass,
    Probe,
    Statement,
)
from rollout.plan.copies import Copy
from rollout.plan.proofs import Proof

# As `rollout.worker.backfills` has it.
MAX_ROUNDS = 5
_jobs: Iterator[int] = itertools.count(1)


class NoControl:
    """Nobody interrupts; what the work waited for is kept."""

    def __init__(self) -> None:
        self.waits: list[str] = []

    def raise_if_stopped(self) -> None:
        """Nobody asks the work to stop."""

    def report_wait(self, reason: str) -> None:
        self.waits.append(reason)

    def report_activity(self, activity: StatementActivity | None) -> None:
        """What a statement waits for is a wait like any other."""
        self.report_wait(str(activity or ""))

    def attach(self, connection: Connection) -> None:
        """Nobody cancels a statement."""


class StopAfter(NoControl):
    """Asks the work to stop at the safe point after so many others."""

    def __init__(self, points: int) -> None:
        super().__init__()
        self.left = points

    def raise_if_stopped(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Interrupted("Enough.")


def new_job(connection: Connection, action: Pass) -> tuple[int, int]:
    """A job with its lanes in the target; its number and its stripes."""
    job = next(_jobs)
    chosen = planner.choose(connection, action)
    lanes.create(connection, job, action.table, named=action.named)
    return job, chosen.stripes


def worker(
    connection: Connection,
    action: Pass,
    *,
    stripes: int,
    control: Control | None = None,
    **more: Any,
) -> Worker:
    """A worker on a connection that is set up for it."""
    backfill.prepare_session(connection)
    if isinstance(action, Compute):
        more.setdefault("function", import_string(action.function))
    return Worker(connection, action, stripes=stripes, control=control or NoControl(), **more)


def claimed(connection: Connection, job: int, holder: str = "test") -> Lane:
    """A lane that there must be."""
    lane = lanes.claim(connection, job, holder)
    assert lane is not None, "nobody else holds a lane"
    return lane


def work_off(connection: Connection, action: Pass, job: int, stripes: int, **more: Any) -> Totals:
    """Work every lane of a job to its end."""
    working = worker(connection, action, stripes=stripes, **more)
    while not lanes.is_finished(connection, job):
        lanes.release(connection, working.run_lane(claimed(connection, job), seconds=60))
    return lane_totals.totals(connection, job)


def work_off_with_stops(connection: Connection, action: Pass, job: int, stripes: int) -> Totals:
    """Work every lane of a job, each time interrupted after three batches."""
    stops = 0
    while not lanes.is_finished(connection, job):
        lane = claimed(connection, job)
        try:
            working = worker(connection, action, stripes=stripes, control=StopAfter(3))
            working.run_lane(lane, seconds=60)
        except Interrupted:
            stops += 1
        lanes.release(connection, lane)
    assert stops > 1
    return lane_totals.totals(connection, job)


def run_fill(connection: Connection, action: Fill | Compute) -> Totals:
    """A whole pass, and others for rows that the application's writes took out of its way."""
    job, stripes = new_job(connection, action)
    for _ in range(MAX_ROUNDS):
        totals = work_off(connection, action, job, stripes)
        if backfill.count_unfilled(connection, action, job) == 0:
            return totals
        lanes.another_round(connection, job, action.table, named=action.named)
    raise AssertionError(f"rows remain after {MAX_ROUNDS} passes")


def run_copy(connection: Connection, copy: Copy) -> int:
    """A whole pass, with what it has not met; how many rows were copied."""
    job, stripes = new_job(connection, copy)
    work_off(connection, copy, job, stripes)
    assert copy_batches.complete(connection, copy, job)
    return lane_totals.totals(connection, job).exact


def prove(connection: Connection, proof: Proof) -> Totals:
    """Compare every row; the rows that differ, each with how, are the assertion's."""
    job, stripes = new_job(connection, proof)
    totals = work_off(connection, proof, job, stripes)
    assert [(row.key, row.error) for row in quarantine.rows(connection, job)] == []
    assert totals.quarantined == 0
    if proof.recorded is not None:
        row = connection.execute(proof.asks_recorded).fetchone()
        assert row == (f"{totals.scanned} rows, {totals.fingerprint}",)
    return totals


def audit(target: Target, plan: Plan, **how: Any) -> AuditResult:
    with target.connect() as connection:
        return run_audit(connection, plan, **{"recheck_after": 0.0, **how})


def act(target: Target, connection: Connection, plan: Plan, number: int, action: Action) -> bool:
    """Carry one action out; whether anything was changed."""
    match action:
        case Statement():
            return ddl.apply(connection, action, NoControl())
        case Fill() | Compute():
            return run_fill(connection, action).updated > 0
        case Proof():
            if action.done is None or not fetch_bool(connection, action.done):
                prove(connection, action)
        case Copy():
            return not fetch_bool(connection, action.done) and run_copy(connection, action) > 0
        case Audit():
            result = audit(target, plan)
            assert not result.inconclusive, result.inconclusive
            assert not result.mismatches, result.mismatches[:5]
            assert result.mismatched == 0
        case CompareSchema():
            live = read(connection, labels_of(plan))
            drifts = compare(plan, phases_done=number, live=live)
            assert not drifts, drifts
        case Probe():
            """The application is not here to be tested."""
    return False


def do_step(target: Target, connection: Connection, plan: Plan, number: int, step: Step) -> None:
    for action in plan.forward(step).actions:
        act(target, connection, plan, number, action)


def undo_step(target: Target, connection: Connection, plan: Plan, number: int, step: Step) -> None:
    for action in plan.backward(step).actions:
        act(target, connection, plan, number, action)


def do_phase(target: Target, connection: Connection, plan: Plan, number: int) -> None:
    for step in plan.phases[number].steps:
        do_step(target, connection, plan, number, step)


def undo_phase(target: Target, connection: Connection, plan: Plan, number: int) -> None:
    for step in reversed(plan.phases[number].steps):
        undo_step(target, connection, plan, number, step)


def do_until(target: Target, connection: Connection, plan: Plan, step_id: str) -> None:
    """Carry a plan out from its beginning, up to and with the first step of that id."""
    for number, phase in enumerate(plan.phases):
        for step in phase.steps:
            do_step(target, connection, plan, number, step)
            if step.id == step_id:
                return
    raise KeyError(step_id)


def wait_until_somebody_waits(connection: Connection) -> None:
    """Until a session of the database waits for a lock that another one holds."""
    for _ in range(1000):
        waiting = connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).fetchone()
        if waiting != (0,):
            return
        connection.execute("SELECT pg_sleep(0.01)")
    raise AssertionError("nobody waits for a lock")
