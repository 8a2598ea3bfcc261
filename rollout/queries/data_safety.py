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
    RunState,
    StepState,
)
from rollout.plan.archives import ArchiveLegacy
from rollout.plan.plan import CONTRACT, PREPARE, Plan, Step
from rollout.plan.removals import DropLegacy, StopDualWrite
from rollout.plan.transition import StartDualWrite
from rollout.queries.rehearsals import RehearsedTimes
from rollout.queries.status import RolloutStatus

Verdict = Literal["untouched", "restored", "safe", "archived", "due", "unproven", "mismatched"]


@dataclass(frozen=True)
class DualWrite:
    """``none``: the plan has none; ``off``: not started, or rolled back; ``ended``: dropped."""

    state: Literal["none", "off", "on", "ended"]
    since: datetime | None = None


@dataclass(frozen=True)
class DataSafety:
    """``audit`` is the newest that finished, or the newest of all rows if that found mismatches.

    ``clean`` is the newest of all rows if it is clean, ``sample`` a clean one since. What changed
    since ``clean`` is ``outdated``; empty if nothing did. ``phase`` is the newest that has begun:
    the one that a rollback begins with.
    """

    verdict: Verdict
    dual_write: DualWrite
    restored_at: datetime | None
    """When the newest rollback had passed its checks; None where none has."""
    audit: AuditReport | None
    clean: AuditReport | None
    sample: AuditReport | None
    outdated: str
    is_archived: bool
    phase: int | None
    rehearsed: RehearsedTimes | None

    @property
    def mismatches(self) -> int:
        """Rows that the newest audit found mismatched, without those waived."""
        return _mismatches(self.audit)

    @property
    def rollback_seconds(self) -> float | None:
        """What the rollback of ``phase`` took in rehearsal."""
        if self.rehearsed is None or self.phase is None:
            return None
        return self.rehearsed.of(self.phase, Direction.BACKWARD)

    @property
    def whole_rollback_seconds(self) -> float | None:
        """The same with the phases before it; None where that is no more than its own."""
        if self.rehearsed is None or self.phase is None:
            return None
        return self.rehearsed.rollback_total(self.phase)


def data_safety_of(status: RolloutStatus) -> DataSafety:
    """What the journal says about the safety of a rollout's data now."""
    plan, facts = status.plan, status.evidence.facts
    in_effect = steps_in_effect(plan, status.evidence.runs)
    if status.active is not None and status.modes is not None and status.modes.write == "both":
        # A switch is in force before the journal has it, and only once the triggers are there.
        steps = (step for phase in plan.phases for step in phase.steps)
        in_effect += [
            step for step in steps if isinstance(step, StartDualWrite) and step not in in_effect
        ]
    full = facts.full_audit
    clean = full if full is not None and full.status == AuditStatus.CLEAN else None
    finished = [audit for audit in facts.audits if audit.status != AuditStatus.RUNNING]
    # A sample says less than what all rows showed.
    audit = full if _mismatches(full) else next(iter(finished), None)
    since = clean.pk if clean is not None else 0
    sample = next((a for a in finished if _is_clean_sample(a) and a.pk > since), None)
    outdated = _outdated(clean, facts, is_active=status.active is not None)
    restored_at = _restored_at(status)
    is_archived = any(isinstance(step, ArchiveLegacy) for step in in_effect)
    verdict = _verdict(in_effect, audit, clean, outdated, restored_at)
    if verdict == "due" and clean is not None and is_archived and _is_compared(status, clean):
        verdict = "archived"
    return DataSafety(
        verdict=verdict,
        dual_write=_dual_write(plan, in_effect, facts),
        restored_at=restored_at,
        audit=audit,
        clean=clean,
        sample=sample,
        outdated=outdated,
        is_archived=is_archived,
        phase=status.phase,
        rehearsed=status.rehearsed,
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
            if run.direction == Direction.BACKWARD:
                is_in_effect = step.id not in done
            else:
                is_in_effect = run.state == RunState.DONE or step.id in done
            if is_in_effect:
                steps.append(step)
    return steps


def _verdict(
    in_effect: Iterable[Step],
    audit: AuditReport | None,
    clean: AuditReport | None,
    outdated: str,
    restored_at: datetime | None,
) -> Verdict:
    if _mismatches(audit):
        return "mismatched"
    if not any(step.changes_write_path for step in in_effect):
        return "restored" if restored_at else "untouched"
    # What came after the clean one has found nothing.
    is_clean = clean is not None and audit is not None and audit.status == AuditStatus.CLEAN
    if not is_clean:
        return "unproven"
    return "due" if outdated else "safe"


def _is_compared(status: RolloutStatus, clean: AuditReport) -> bool:
    """Whether nothing but phase 4 has come since the audit: it compares all rows as it archives."""
    facts, run = status.evidence.facts, status.evidence.runs.get(CONTRACT)
    if status.active is not None or run is None or run.state != RunState.DONE:
        return False
    steps = [row for row in facts.write_path_steps if row.run_id != run.pk]
    changes = [row.finished_at or row.started_at for row in steps]
    changes += [change.at for change in (facts.review, facts.repair) if change is not None]
    return all(at is not None and at <= clean.started_at for at in changes)


def _restored_at(status: RolloutStatus) -> datetime | None:
    """A rollback is done only once its checks have passed; of phase 0 there is nothing to check."""
    ends = [
        run.finished_at
        for number, run in status.evidence.runs.items()
        if number > PREPARE and run.direction == Direction.BACKWARD and run.state == RunState.DONE
    ]
    return max((end for end in ends if end is not None), default=None)


def _is_clean_sample(audit: AuditReport) -> bool:
    return audit.status == AuditStatus.CLEAN and audit.mode == AuditMode.SAMPLED


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
    return f"step {change}" if change is not None and change.at > clean.started_at else ""


def _dual_write(plan: Plan, in_effect: Iterable[Step], facts: Facts) -> DualWrite:
    every = [step for phase in plan.phases for step in phase.steps]
    starts = [step for step in every if isinstance(step, StartDualWrite)]
    ends = [step for step in every if isinstance(step, DropLegacy | StopDualWrite)]
    if not starts:
        return DualWrite("none")
    has_started = any(isinstance(step, StartDualWrite) for step in in_effect)
    ended = {step.table.label for step in in_effect if isinstance(step, DropLegacy | StopDualWrite)}
    on_tables = {
        step.table.label
        for step in in_effect
        if isinstance(step, StartDualWrite) and step.table.label not in ended
    }
    # What turned it to what it is: a start or an end, forward or rolled back.
    turns = [(step, Direction.FORWARD) for step in (starts if on_tables else ends)]
    turns += [(step, Direction.BACKWARD) for step in (ends if on_tables else starts)]
    tables: dict[tuple[str, str], str] = {
        (step.id, direction): step.table.label for step, direction in turns
    }
    newest: dict[str, datetime] = {}
    for row in facts.write_path_steps:
        table = tables.get((row.step, getattr(row, "direction", "")))
        if table is not None and row.state == StepState.DONE and row.finished_at is not None:
            newest.setdefault(table, row.finished_at)
    if on_tables:
        # Tables are turned on one after the other: since the first, whatever follows it.
        since = min((newest[table] for table in on_tables & newest.keys()), default=None)
        return DualWrite("on", since)
    return DualWrite("ended" if has_started else "off", max(newest.values(), default=None))
