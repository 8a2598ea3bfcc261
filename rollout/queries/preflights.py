"""The preflight of a rollout's phase: for the page that asks, and for the start that insists."""

from dataclasses import replace
from typing import Any

from psycopg import Error

from rollout import gates
from rollout.engine import preflight, schema_stages
from rollout.engine.preflight import (
    Findings,
    Item,
    LockForecast,
    Preflight,
    Readiness,
    worst_first,
)
from rollout.engine.preflight.tables import SCHEMA_DRIFT
from rollout.journal.environments import target_of
from rollout.models import Direction, Rollout
from rollout.plan import Plan, plans
from rollout.plan.actions import LockMode
from rollout.plan.plan import CONTRACT, PREPARE
from rollout.queries import (
    migrations,
    other_plans,
    project_models,
    rehearsals,
    snapshot_trials,
)


def preflight_of(rollout: Rollout, phase: int) -> Preflight:
    """Look at everything that could go wrong with a phase, now."""
    plan = plans.get(rollout.plan)
    steps_done = gates.steps_done(plan, gates.newest_runs(rollout).get(phase))
    findings = preflight.run(target_of(rollout.environment), plan, phase, steps_done=steps_done)
    return replace(
        findings,
        items=worst_first([*findings.items, *_beside(rollout, plan, phase, findings)]),
        locks=_as_rehearsed(findings.locks, rollout, phase, Direction.FORWARD),
    )


def locks_of_rollback(rollout: Rollout, phase: int) -> list[LockForecast]:
    """The locks that the rollback of a phase takes. Raises psycopg.Error."""
    plan = plans.get(rollout.plan)
    locks = preflight.forecast_locks(target_of(rollout.environment), plan, phase, forward=False)
    return _as_rehearsed(locks, rollout, phase, Direction.BACKWARD)


def _as_rehearsed(
    locks: list[LockForecast], rollout: Rollout, phase: int, direction: Direction
) -> list[LockForecast]:
    """The locks of a phase, each with how long it was held when that was rehearsed."""
    report = rehearsals.newest_measured(rollout)
    return _with_measured(locks, rehearsals.forecast_of(report, phase, direction))


def _with_measured(
    locks: list[LockForecast], rehearsed: rehearsals.Rehearsed | None
) -> list[LockForecast]:
    """A lock forecast with how long each lock was really held in the rehearsal."""
    if rehearsed is None:
        return locks
    held: dict[tuple[str, LockMode, str], rehearsals.HeldLock] = {
        (step.step, lock.mode, lock.table): lock
        for step in rehearsed.result.steps
        for lock in step.locks
    }
    forecasts = []
    for forecast in locks:
        seen = [
            held[key].held_ms
            for table in forecast.tables
            if (key := (forecast.step, forecast.mode, table)) in held
        ]
        longest = max((ms for ms in seen if ms is not None), default=None)
        was_there = any(step.step == forecast.step for step in rehearsed.result.steps)
        # What is held for shorter than a look takes may not have been seen at all.
        shortest = rehearsed.rehearsal.lock_poll_ms
        forecasts.append(
            replace(
                forecast,
                rehearsed_ms=longest,
                rehearsed_below_ms=shortest if was_there and longest is None else None,
                rehearsed_rows=rehearsed.rehearsal.rows,
            )
        )
    return forecasts


def readiness_of(rollout: Rollout) -> Readiness:
    """What would stop or hurt the phases that are still to come, asked now."""
    plan = plans.get(rollout.plan)
    runs = gates.newest_runs(rollout)
    phase = gates.phases_done(runs)
    if phase > CONTRACT:
        return Readiness([], phase, [])
    steps_done = gates.steps_done(plan, runs.get(phase))
    findings = preflight.readiness(
        target_of(rollout.environment), plan, phase, steps_done=steps_done
    )
    beside = [item for item in _beside(rollout, plan, phase, findings) if item.is_problem]
    return replace(findings, items=worst_first([*findings.items, *beside]))


def _beside(rollout: Rollout, plan: Plan, phase: int, findings: Findings) -> list[Item]:
    """What is asked beside the probes: of the project, and by trial."""
    environment = rollout.environment
    # A database with the schema of before phase 0 has no later one.
    differs = any(item.name == SCHEMA_DRIFT for item in findings.problems)
    if phase == PREPARE and differs and (adoptable := _adoptable(plan, environment)):
        # Nothing else is asked of a database that is past the phases.
        return [adoptable]
    of_models = [project_models.item_of(plan, environment)] if phase == CONTRACT else []
    return [
        other_plans.item_of(plan, environment, phase),
        migrations.item_of(plan, environment, phase),
        *of_models,
        *snapshot_trials.items_of(target_of(environment), plan, environment, phase),
    ]


def _adoptable(plan: Plan, environment: str) -> Item | None:
    """What to do where the database has the schema of a later phase already."""
    try:
        with target_of(environment).connect_briefly() as connection:
            phase = schema_stages.adoptable_phase(connection, plan)
    except Error:
        return None
    if phase is None:
        return None
    return Item(
        "schema of a later phase",
        "blocks",
        f"The database has the schema after phase {phase} already.",
        f"Record it: manage.py rollout adopt {plan.name} --phase {phase}.",
        phase=PREPARE,
    )


def as_data(findings: Findings) -> list[dict[str, Any]]:
    """Findings for the log and the shell; what passed is only named."""
    return [_as_data(item) for item in findings.items]


def _as_data(item: Item) -> dict[str, Any]:
    data: dict[str, Any] = {"name": item.name, "level": item.level, "phase": item.phase}
    if item.level == "pass":
        return data
    return {**data, "evidence": item.evidence, "advice": item.advice}
