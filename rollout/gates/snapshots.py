"""The gate about snapshots."""

from datetime import timedelta

from rollout.gates.evidence import Evidence
from rollout.gates.registry import GateResult, check, failed, passed, pending
from rollout.journal.moments import in_words, staleness
from rollout.logs.texts import counted
from rollout.models import SNAPSHOT_UNDER_WAY, Snapshot, SnapshotState
from rollout.plan.gates import SnapshotVerified


@check(SnapshotVerified)
def snapshot_verified(gate: SnapshotVerified, evidence: Evidence) -> GateResult:
    if missing := pending_snapshot(evidence):
        return missing
    snapshot, before = _verified(evidence), evidence.run_before
    assert snapshot is not None
    assert snapshot.taken_at is not None
    of = f"Snapshot {snapshot.pk} of {in_words(snapshot.taken_at)}"
    change, span = evidence.facts.write_path, _words(gate.fresh_for)
    if before is not None and (
        before.finished_at is None or before.finished_at > snapshot.taken_at
    ):
        reason = f"is older than the end of phase {evidence.number - 1}"
    elif change is not None and change.at > snapshot.taken_at:
        reason = f"is older than step {change.what}, which changed what writes do"
    else:
        reason = staleness(snapshot.taken_at, gate.fresh_for, span, evidence.now)
    if reason:
        return snapshot_under_way(evidence) or pending(
            "take_snapshot", f"{of} {reason}. Take another."
        )
    return passed(
        f"{of} verified: restored, and {counted(sum(snapshot.counts.values()), 'row')} in "
        f"{counted(len(snapshot.counts), 'table')} and their pairs of values match."
    )


def pending_snapshot(evidence: Evidence, problem: str = "") -> GateResult | None:
    """Why there is no verified snapshot, after the problem that causes; None if there is one."""
    if _verified(evidence) is not None:
        return None
    newest = next(iter(evidence.facts.snapshots), None)
    if newest is not None and newest.state == SnapshotState.FAILED:
        message = f"{problem} Snapshot {newest.pk} failed: {newest.error} {newest.advice}"
        return failed("take_snapshot", message.strip())
    return snapshot_under_way(evidence) or pending(
        "take_snapshot", f"{problem} No verified snapshot. Take one.".strip()
    )


def _verified(evidence: Evidence) -> Snapshot | None:
    snapshots = evidence.facts.snapshots
    return next((s for s in snapshots if s.state == SnapshotState.VERIFIED and s.taken_at), None)


def snapshot_under_way(evidence: Evidence) -> GateResult | None:
    newest = next(iter(evidence.facts.snapshots), None)
    if newest is None or newest.state not in SNAPSHOT_UNDER_WAY:
        return None
    doing = "verified" if newest.state == SnapshotState.VERIFYING else "taken"
    then = " A rehearsal starts from it then." if newest.then_rehearse else ""
    return pending(
        "wait", f"Snapshot {newest.pk} is being {doing}.{then} Wait until that has finished."
    )


def _words(time: timedelta) -> str:
    minutes = round(time.total_seconds() / 60)
    if minutes % 60 == 0:
        return f"{minutes // 60} h"
    return f"{minutes} min"
