"""Estimates a pass over a table by a sample that is rolled back."""

from dataclasses import dataclass

import psycopg
from django.utils import timezone
from psycopg import errors, sql

from rollout.engine import planner
from rollout.engine.target import Connection
from rollout.journal.environments import target_of
from rollout.models import BackfillEstimate
from rollout.plan import facts, plans
from rollout.plan.actions import Compute, Fill
from rollout.plan.plan import Plan, Step


@dataclass(frozen=True)
class Pass:
    """A pass over a table that a phase will make: the step's action at ``position``."""

    step: Step
    position: int
    action: Fill | Compute


def passes_of(plan: Plan, phase: int) -> list[Pass]:
    """The passes over tables that a phase makes on its way forward, in their order."""
    return [
        Pass(step, position, action)
        for step in plan.phases[phase].steps
        for position, action in enumerate(plan.forward(step).actions)
        if isinstance(action, Fill | Compute)
    ]


def columns_exist(connection: Connection, *actions: Fill | Compute) -> tuple[bool, ...]:
    """For each pass, whether its columns exist."""
    there = [
        facts.all_of(*(facts.column_exists(action.table, name) for name in _written(action)))
        for action in actions
    ]
    row = connection.execute(sql.SQL("SELECT {}").format(sql.SQL(", ").join(there))).fetchone()
    return row or ()


def _written(action: Fill | Compute) -> tuple[str, ...]:
    if isinstance(action, Compute):
        # A task writes what it likes; without what it reads it cannot begin.
        return action.columns or action.reads
    return tuple(assignment.column for assignment in action.assignments)


def carry_out(estimate_id: int) -> None:
    """Make an estimate, or write down why it cannot be made. Doing it twice changes nothing."""
    estimate = (
        BackfillEstimate.objects.select_related("rollout")
        .filter(pk=estimate_id, finished_at=None)
        .first()
    )
    if estimate is None:
        return
    try:
        _make(estimate)
    except errors.LockNotAvailable:
        estimate.error = "The application had locked rows of the sample. Try again."
    except psycopg.Error as error:
        estimate.error = error.diag.message_primary or str(error).strip() or type(error).__name__
    estimate.finished_at = timezone.now()
    estimate.save()


def _make(estimate: BackfillEstimate) -> None:
    passes = passes_of(plans.get(estimate.rollout.plan), estimate.phase)
    place = (estimate.step, estimate.position)
    actions = {
        (table_pass.step.id, table_pass.position): table_pass.action for table_pass in passes
    }
    if place not in actions:
        estimate.error = "The plan has changed since. Request a new estimate."
        return
    action = actions[place]
    with target_of(estimate.rollout.environment).connect() as connection:
        connection.execute("SET statement_timeout = '60s'")
        if not all(columns_exist(connection, action)):
            estimate.error = f"The new columns of {action.table.label} do not exist yet."
        elif isinstance(action, Compute):
            estimate.rows = planner.choose(connection, action).estimated_rows
        else:
            measured = planner.estimate(connection, action)
            estimate.rows, estimate.sampled_rows = measured.rows, measured.sampled_rows
            if measured.sampled_rows:
                estimate.seconds = measured.seconds
                estimate.wal_bytes, estimate.disk_bytes = measured.wal_bytes, measured.disk_bytes
