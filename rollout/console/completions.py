"""What a finished rollout leaves: what can be removed, who did what, how long going back takes."""

from dataclasses import dataclass
from datetime import timedelta

from rollout.journal.environments import is_protected
from rollout.models import Direction, LogEntry, Measurement, SignOffKind, Snapshot, SnapshotState
from rollout.plan.archives import ArchiveLegacy, archive_name
from rollout.plan.conversions import Conversion
from rollout.plan.names import SCHEMA
from rollout.plan.plan import Plan
from rollout.plan.removals import DropLegacy
from rollout.plan.translations import Lookup
from rollout.queries.activity import retries_of
from rollout.queries.status import PhaseStatus, RolloutStatus

RECENT = timedelta(hours=1)


@dataclass(frozen=True)
class PhaseRecord:
    """A phase as it ran, and the seconds its rollback took in the newest rehearsal."""

    phase: PhaseStatus
    retry: LogEntry | None
    approved_by: list[str]
    rollback_seconds: float | None


@dataclass(frozen=True)
class Completion:
    """``operations`` asked for modes within the hour; ``columns`` and ``archives`` are names."""

    columns: list[str]
    operations: list[str]
    archives: list[str]
    snapshot: Snapshot | None
    records: list[PhaseRecord]


def completion_of(status: RolloutStatus) -> Completion | None:
    """What remains of a rollout all of whose phases are done; None before that."""
    if status.next_phase is not None or status.active is not None:
        return None
    facts = status.evidence.facts
    verified = (s for s in facts.snapshots if s.state == SnapshotState.VERIFIED)
    return Completion(
        columns=_columns(status.plan),
        operations=_operations(status) if is_protected(status.rollout.environment) else [],
        archives=_archives(status.plan),
        snapshot=next(verified, None),
        records=_records(status),
    )


def _columns(plan: Plan) -> list[str]:
    dropped = {
        step.table.label
        for phase in plan.phases
        for step in phase.steps
        if isinstance(step, DropLegacy)
    }
    return [
        f"{t.table.label}.{column}"
        for t in plan.translations
        if isinstance(t, Lookup | Conversion) and t.table.label in dropped
        for column in t.drops
        # The new column has its name.
        if column not in plan.names_after_cutover(t.table)
    ]


def _archives(plan: Plan) -> list[str]:
    return [
        f"{SCHEMA}.{archive_name(plan, step.table)}"
        for phase in plan.phases
        for step in phase.steps
        if isinstance(step, ArchiveLegacy)
    ]


def _operations(status: RolloutStatus) -> list[str]:
    recent = Measurement.objects.filter(
        at__gt=status.evidence.now - RECENT, plan=status.rollout.plan
    )
    return list(recent.order_by("operation").values_list("operation", flat=True).distinct())


def _records(status: RolloutStatus) -> list[PhaseRecord]:
    times = status.rehearsed
    approvals: dict[int | None, list[str]] = {}
    for sign_off in status.evidence.facts.sign_offs:
        if sign_off.kind == SignOffKind.APPROVAL:
            approvals.setdefault(sign_off.run_id, []).append(sign_off.actor_name)
    retries = retries_of(phase.run for phase in status.phases)
    return [
        PhaseRecord(
            phase,
            retries.get(phase.run.pk) if phase.run else None,
            approvals.get(phase.run.pk, []) if phase.run else [],
            times.of(phase.number, Direction.BACKWARD) if times is not None else None,
        )
        for phase in status.phases
    ]
