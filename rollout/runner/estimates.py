"""Estimates of a phase's passes over tables, asked for before it starts and made by a worker."""

from dataclasses import dataclass
from datetime import timedelta

import psycopg
from django.utils import timezone
from psycopg import errors, sql

from rollout import gates, journal, log, queue
from rollout.engine import planner
from rollout.engine.target import Connection
from rollout.environments import target_of
from rollout.events import Event
from rollout.models import BackfillEstimate, Rollout
from rollout.plan import facts, plans
from rollout.plan.actions import Compute, Fill
from rollout.plan.plan import Plan
from rollout.plan.step import Step
from rollout.runner.verbs import Actor, Refused, active_run, plan_of, refuse_out_of_reach

PATIENCE = timedelta(minutes=2)
"""An estimate that has had no answer for so long may be asked for again."""


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
    """Of each pass whether the columns that it writes are there already."""
    there = [
        facts.all_of(*(facts.column_exists(action.table, name) for name in _written(action)))
        for action in actions
    ]
    row = connection.execute(sql.SQL("SELECT {}").format(sql.SQL(", ").join(there))).fetchone()
    return row or ()


def _written(action: Fill | Compute) -> tuple[str, ...]:
    if isinstance(action, Compute):
        return action.columns
    return tuple(assignment.column for assignment in action.assignments)


def ask_for(rollout: Rollout, phase: int, *, actor: Actor, source: str = "web") -> None:
    """Have every pass of a phase estimated that has not begun. Raises Refused."""
    refuse_out_of_reach(rollout)
    plan = plan_of(rollout)
    passes = passes_of(plan, phase)
    if not passes:
        raise Refused(f"Phase {phase} goes over no table row by row: there is nothing to estimate.")
    with journal.atomic():
        Rollout.objects.select_for_update(no_key=True).get(pk=rollout.pk)
        if not gates.is_untouched(gates.newest_runs(rollout).get(phase)):
            raise Refused(f"Phase {phase} has begun: its page shows what it really takes.")
        if active_run(rollout) is not None:
            raise Refused("Another phase is at work and would spoil the sample. Wait for its end.")
        asked = BackfillEstimate.objects.filter(rollout=rollout, phase=phase)
        if any(map(is_waiting, asked.filter(finished_at=None))):
            raise Refused("An estimate is being made. It appears here in a moment.")
        for each in passes:
            estimate = BackfillEstimate.objects.create(
                rollout=rollout,
                phase=phase,
                step=each.step.id,
                position=each.position,
                table=each.action.table.label,
                actor_name=actor.get_username(),
            )
            queue.send_while_fresh("estimate", estimate.pk)
        log.record(
            Event.ESTIMATE_ASKED_FOR,
            f"Asked for an estimate of phase {phase}; its sample is rolled back.",
            actor=actor.get_username(),
            source=source,
            rollout=rollout,
            phase=phase,
        )


def is_waiting(estimate: BackfillEstimate) -> bool:
    """Whether an estimate is still to be made."""
    return estimate.finished_at is None and estimate.created_at > timezone.now() - PATIENCE


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
        estimate.error = "The application held rows of the sample. Ask again in a moment."
    except psycopg.Error as error:
        estimate.error = error.diag.message_primary or str(error).strip() or type(error).__name__
    estimate.finished_at = timezone.now()
    estimate.save()


def _make(estimate: BackfillEstimate) -> None:
    passes = passes_of(plans.get(estimate.rollout.plan), estimate.phase)
    place = (estimate.step, estimate.position)
    actions = {(each.step.id, each.position): each.action for each in passes}
    if place not in actions:
        estimate.error = "The plan has changed since. Ask again."
        return
    action = actions[place]
    with target_of(estimate.rollout.environment).connect() as connection:
        connection.execute("SET statement_timeout = '60s'")
        if not all(columns_exist(connection, action)):
            estimate.error = f"The new columns of {action.table.label} are not there yet."
        elif isinstance(action, Compute):
            estimate.rows = planner.choose(connection, action).estimated_rows
        else:
            found = planner.estimate(connection, action)
            estimate.rows, estimate.sampled_rows = found.rows, found.sampled_rows
            if found.sampled_rows:
                estimate.seconds = found.seconds
                estimate.wal_bytes, estimate.disk_bytes = found.wal_bytes, found.disk_bytes
