"""Whether running a phase again would change anything; nothing is written."""

from dataclasses import dataclass
from typing import Any, Literal

import psycopg

from rollout import gates
from rollout.engine import quarantine
from rollout.engine.target import Connection, fetch_bool, own
from rollout.journal.actors import Refused
from rollout.journal.environments import target_of
from rollout.logs.texts import counted
from rollout.models import BackfillJob, Direction, Rollout
from rollout.plan import facts, plans
from rollout.plan.actions import Compute, Fill, Probe, Statement
from rollout.plan.plan import Plan, Step

APPLIED = "Already applied."
MORE = "Not checkable; safe to run any number of times."
StepState = Literal["applied", "looks", "changed", "unknown"]


@dataclass(frozen=True)
class StepCheck:
    """What a second run of a step would find; ``looks`` is one that never writes."""

    step: Step
    state: StepState
    message: str


@dataclass(frozen=True)
class Rerun:
    """What a second run of a phase would find, step by step."""

    phase: int
    steps: list[StepCheck]

    @property
    def changes_nothing(self) -> bool:
        return all(step.state in ("applied", "looks") for step in self.steps)

    @property
    def verdict(self) -> str:
        again = f"Running phase {self.phase} again"
        if self.changes_nothing:
            return f"{again} changes nothing."
        if any(step.state == "changed" for step in self.steps):
            return f"{again} would change something: some of its effects are missing."
        return f"Unknown whether {again.lower()} would change something."


def refusal_to_verify(rollout: Rollout, number: int) -> str:
    """Why a phase cannot be verified, and which can; empty if it can."""
    runs = gates.newest_runs(rollout)
    if not gates.is_done(runs.get(number)):
        return f"Phase {number} is not done. Verify it once it is."
    newer = max(gates.started_phases(runs))
    if newer > number:
        return (
            f"Phase {newer} has started since and builds on phase {number}. Verify phase {newer}, "
            "or roll it back first."
        )
    return ""


def verify(rollout: Rollout, number: int, *, seconds: int = 0) -> Rerun:
    """Ask of each statement of a done phase whether it is applied, and count rows left to write.

    A question that takes more than ``seconds`` is given up; 0 waits. Raises Refused and
    psycopg.Error.
    """
    if reason := refusal_to_verify(rollout, number):
        raise Refused(reason)
    plan = plans.get(rollout.plan)
    jobs = _jobs_of(rollout, number)
    with target_of(rollout.environment).connect() as connection:
        # So that PostgreSQL itself refuses a write.
        connection.execute("SET default_transaction_read_only = on")
        connection.execute("SELECT set_config('statement_timeout', %s, false)", [f"{seconds}s"])
        steps = [
            _check_of(connection, plan, step, jobs.get(step.id, {}))
            for step in plan.phases[number].steps
        ]
    return Rerun(number, steps)


def as_data(rerun: Rerun) -> dict[str, Any]:
    """For ``verify --json``."""
    return {
        "phase": rerun.phase,
        "changes_nothing": rerun.changes_nothing,
        "steps": [
            {"id": step.step.id, "state": step.state, "message": step.message}
            for step in rerun.steps
        ],
    }


def _jobs_of(rollout: Rollout, number: int) -> dict[str, dict[int, int]]:
    """The newest job of each action of each step: whose rows in quarantine are not counted."""
    jobs = BackfillJob.objects.filter(
        step_run__run__rollout=rollout,
        step_run__run__phase=number,
        step_run__run__direction=Direction.FORWARD,
    ).order_by("pk")
    newest: dict[str, dict[int, int]] = {}
    for pk, step, position in jobs.values_list("pk", "step_run__step", "position"):
        newest.setdefault(step, {})[position] = pk
    return newest


def _check_of(connection: Connection, plan: Plan, step: Step, jobs: dict[int, int]) -> StepCheck:
    actions = plan.forward(step).actions
    writing = [
        (position, action)
        for position, action in enumerate(actions)
        if isinstance(action, Statement | Fill | Compute)
    ]
    if not actions:
        return StepCheck(step, "looks", "Nothing to do.")
    if not writing:
        tries = any(isinstance(action, Probe) for action in actions)
        message = "Rolled back after each run." if tries else "Read-only."
        return StepCheck(step, "looks", message)
    notes = []
    for position, action in writing:
        try:
            missing, note = _missing(connection, action, jobs.get(position))
        except psycopg.errors.QueryCanceled:
            return StepCheck(step, "unknown", "Timed out. Run manage.py rollout verify in a shell.")
        if missing:
            return StepCheck(step, "changed", f"Missing now: {missing}")
        notes.append(note)
    kinds = [note for note in (APPLIED, *sorted(set(notes) - {APPLIED, ""})) if note in notes]
    return StepCheck(step, "applied", " ".join(kinds))


def _missing(
    connection: Connection, action: Statement | Fill | Compute, job: int | None
) -> tuple[str, str]:
    """What of an action is not in place, or empty and what to say of it instead."""
    if isinstance(action, Statement):
        if not action.is_for(connection.info.server_version):
            return "", ""
        if action.done is None:
            return "", MORE
        return (
            ("", APPLIED) if fetch_bool(connection, action.done) else (_first_line(action.text), "")
        )
    refused = quarantine.count(connection, job) if job is not None else 0
    except_for = quarantine.none_of(job, action.table) if refused and job else facts.TRUE
    asked = action.guarded if isinstance(action, Fill) else action
    row = connection.execute(own(asked.unfilled(except_for))).fetchone()
    rows = row[0] if row else 0
    if rows:
        return f"{counted(rows, 'row')} of {action.table.label} still to write.", ""
    return "", f"{counted(refused, 'row')} in quarantine still to retry." if refused else APPLIED


def _first_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 120 else f"{line[:119]}…"
