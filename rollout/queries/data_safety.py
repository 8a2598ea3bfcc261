"""Whether the data is safe: the dual write, the newest audits, the archive and the way back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from rollout.gates import is_not_started
from rollout.gates.facts import Facts
from rollout.models import (
    AuditMode,
    AuditReport,
    AuditStatus,
    Direction,
    PhaseRun,
    Rehearsal,
    RehearsalState,
    RunState,
    StepState,
)
from rollout.plan.archives import ArchiveLegacy
from rollout.plan.plan import Plan
from rollout.plan.removals import DropLegacy
from rollout.plan.step import Step
from rollout.plan.transition import StartDualWrite, StopDualWrite
from rollout.queries.status import RolloutStatus

Verdict = Literal["untouched", "safe", "unproven", "mismatched"]
# A shadow read compares answers, not rows: none of them shows that the data is right.
_PROVING = (AuditMode.FULL, AuditMode.SAMPLED)


@dataclass(frozen=True)
class DualWrite:
    """``none``: the plan has none; ``off``: not started, or rolled back; ``ended``: dropped."""

    state: Literal["none", "off", "on", "ended"]
    since: datetime | None = None


@dataclass(frozen=True)
class RehearsedRollback:
    """How many seconds the rollback of a phase took in the newest rehearsal of this plan.

    ``total`` are those of all its phases down to the first that it rehearsed; None where one of
    them is missing.
    """

    rehearsal: Rehearsal
    seconds: float
    total: float | None


@dataclass(frozen=True)
class DataSafety:
    """``audit`` is the newest that finished, ``clean`` the newest clean one of rows.

    ``outdated`` is what changed since ``clean``; empty if nothing did. ``phase`` is the newest that
    has begun: the one that a rollback begins with.
    """

    verdict: Verdict
    dual_write: DualWrite
    audit: AuditReport | None
    clean: AuditReport | None
    outdated: str
    is_archived: bool
    phase: int | None
    rehearsed: RehearsedRollback | None

    @property
    def mismatches(self) -> int:
        """Rows that the newest audit found mismatched, without those waived."""
        return _mismatches(self.audit)


def data_safety_of(status: RolloutStatus) -> DataSafety:
    """What the journal says about the safety of a rollout's data now."""
    plan, facts = status.plan, status.evidence.facts
    in_effect = steps_in_effect(plan, status.evidence.runs)
    finished = [audit for audit in facts.audits if audit.status != AuditStatus.RUNNING]
    clean = next(
        (a for a in finished if a.status == AuditStatus.CLEAN and a.mode in _PROVING), None
    )
    outdated = _outdated(clean, facts, is_active=status.active is not None)
    audit = next(iter(finished), None)
    is_archived = any(isinstance(step, ArchiveLegacy) for step in in_effect)
    return DataSafety(
        verdict=_verdict(in_effect, audit, clean, outdated),
        dual_write=_dual_write(plan, in_effect, facts),
        audit=audit,
        clean=clean,
        outdated=outdated,
        is_archived=is_archived,
        phase=status.phase,
        rehearsed=_rehearsed(status),
    )


def steps_in_effect(plan: Plan, runs: Mapping[int, PhaseRun]) -> list[Step]:
    """The steps whose work is in the target, by the newest run of each phase.

    ``runs`` know their ``done_steps``. Of a rollback that has not finished, all steps count that it
    has not undone.
    """
    steps: list[Step] = []
    for number, run in runs.items():
        if is_not_started(run) or number >= len(plan.phases):
            continue
        done = set(getattr(run, "done_steps", ()))
        for step in plan.phases[number].steps:
            if run.way == Direction.BACKWARD:
                is_in_effect = step.id not in done
            else:
                is_in_effect = run.state == RunState.DONE or step.id in done
            if is_in_effect:
                steps.append(step)
    return steps


def _verdict(
    in_effect: Iterable[Step], audit: AuditReport | None, clean: AuditReport | None, outdated: str
) -> Verdict:
    if _mismatches(audit):
        return "mismatched"
    if not any(step.changes_write_path for step in in_effect):
        return "untouched"
    is_newest = clean is not None and clean == audit
    return "safe" if is_newest and not outdated else "unproven"


def _mismatches(audit: AuditReport | None) -> int:
    if audit is None or audit.status != AuditStatus.MISMATCHED:
        return 0
    return audit.mismatched - audit.waived


def _outdated(clean: AuditReport | None, facts: Facts, *, is_active: bool) -> str:
    if clean is None:
        return ""
    if not is_active:
        return facts.audit_is_older_than(clean)
    # A run at work changes more than a sentence can name: what has changed for writers counts.
    change = facts.write_path
    return str(change) if change is not None and change.at > clean.started_at else ""


def _dual_write(plan: Plan, in_effect: Iterable[Step], facts: Facts) -> DualWrite:
    every = [step for phase in plan.phases for step in phase.steps]
    starts = [step for step in every if isinstance(step, StartDualWrite)]
    ends = [step for step in every if isinstance(step, DropLegacy | StopDualWrite)]
    if not starts:
        return DualWrite("none")
    has_started = any(isinstance(step, StartDualWrite) for step in in_effect)
    ended = {step.table.label for step in in_effect if isinstance(step, DropLegacy | StopDualWrite)}
    is_on = any(
        isinstance(step, StartDualWrite) and step.table.label not in ended for step in in_effect
    )
    # What turned it to what it is: a start or an end, forward or rolled back.
    turning = {step.id for step in (*starts, *ends)}
    rows = [row for row in facts.write_path_steps if row.step in turning]
    since = next((row.finished_at for row in rows if row.state == StepState.DONE), None)
    state: Literal["off", "on", "ended"] = "on" if is_on else "ended" if has_started else "off"
    return DualWrite(state, since)


def _rehearsed(status: RolloutStatus) -> RehearsedRollback | None:
    phase = status.phase
    ended = (RehearsalState.PASSED, RehearsalState.FAILED)
    newest = next(
        (
            rehearsal
            for rehearsal in status.evidence.facts.rehearsals
            if rehearsal.state in ended and rehearsal.plan_digest == status.plan.digest
        ),
        None,
    )
    if phase is None or newest is None:
        return None
    runs = PhaseRun.objects.filter(
        rollout=newest.sandbox_id,
        phase__gte=newest.first_phase,
        way=Direction.BACKWARD,
        state=RunState.DONE,
    ).defer("baseline", "statement_calls")
    seconds = {
        run.phase: run.time_at_work(run.started_at, run.finished_at).total_seconds()
        for run in runs
        if run.started_at and run.finished_at
    }
    if phase not in seconds:
        return None
    every = [seconds.get(number) for number in range(newest.first_phase, phase + 1)]
    known = [value for value in every if value is not None]
    total = sum(known) if len(known) == len(every) else None
    return RehearsedRollback(newest, seconds[phase], total)
