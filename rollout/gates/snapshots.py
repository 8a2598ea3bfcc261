"""The gate about snapshots."""

from datetime import timedelta

from rollout.gates.evidence import Evidence
from rollout.gates.registry import GateResult, check
from rollout.journal.moments import in_words, staleness
from rollout.models import SNAPSHOT_UNDER_WAY, Snapshot, SnapshotState
from rollout.plan.gates import SnapshotVerified


@check(SnapshotVerified)
def snapshot_verified(gate: SnapshotVerified, evidence: Evidence) -> GateResult:
    newest, before = evidence.facts.snapshots, evidence.run_before
    snapshot = next((s for s in newest if s.state == SnapshotState.VERIFIED), None)
    if snapshot is None or snapshot.taken_at is None:
        return _none_verified(newest[0] if newest else None)
    at = in_words(snapshot.taken_at)
    if before is not None and (
        before.finished_at is None or before.finished_at > snapshot.taken_at
    ):
        return "fail", (
            f"Snapshot {snapshot.pk} of {at} is older than the end of phase "
            f"{evidence.number - 1}. Take another."
        )
    change = evidence.facts.write_path
    if change is not None and change.at > snapshot.taken_at:
        return "fail", (
            f"Snapshot {snapshot.pk} of {at} is older than step {change.what}, which changed what "
            "is written. Take another."
        )
    if stale := staleness(snapshot.taken_at, gate.fresh_for, _words(gate.fresh_for), evidence.now):
        return "fail", f"Snapshot {snapshot.pk} of {at} {stale}. Take another."
    rows = sum(snapshot.counts.values())
    return "pass", (
        f"Snapshot {snapshot.pk} of {at} was restored, and its {rows:,} rows in "
        f"{len(snapshot.counts)} tables and their pairs of values were all there."
    )


def _none_verified(newest: Snapshot | None) -> GateResult:
    if newest is not None and newest.state in SNAPSHOT_UNDER_WAY:
        return "unknown", f"Snapshot {newest.pk} is under way. Wait until it is verified."
    if newest is not None and newest.state == SnapshotState.FAILED:
        return "fail", f"Snapshot {newest.pk} failed: {newest.error} {newest.advice}"
    return "fail", "There is no verified snapshot. Take one."


def _words(time: timedelta) -> str:
    minutes = round(time.total_seconds() / 60)
    if minutes % 60 == 0:
        return f"{minutes // 60} h"
    return f"{minutes} min"
