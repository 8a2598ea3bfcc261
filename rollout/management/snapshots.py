"""The shell's verbs for snapshots."""

import json
from collections.abc import Callable
from typing import Any

from rollout import runner
from rollout.models import Rollout, Snapshot, SnapshotState
from rollout.runner.snapshots import make_now
from rollout.runner.verbs import Actor


def add_verbs(verb: Callable[..., Any]) -> None:
    """Add the verbs to the command's parser."""
    verb("snapshot", "Take a snapshot and verify it by restoring it elsewhere.", as_json=True)
    verb("snapshots", "List the snapshots of a rollout.", as_json=True)
    restore = verb("restore", "Put a snapshot into an environment other than production.")
    restore.add_argument("snapshot", type=int, help="its number, as snapshots lists it")
    restore.add_argument("--yes", action="store_true", help="replace the tables that are there")


def take(rollout: Rollout, actor: Actor, *, as_json: bool) -> tuple[str, bool]:
    """Take one now: what to print, and whether it is verified."""
    snapshot = make_now(rollout, actor=actor, source="shell")
    verified = snapshot.state == SnapshotState.VERIFIED
    if as_json:
        return _json(of_snapshot(snapshot)), verified
    return "\n".join(_lines(snapshot)), verified


def list_of(rollout: Rollout, *, as_json: bool) -> str:
    """The snapshots of a rollout, newest first."""
    found = list(Snapshot.objects.filter(rollout=rollout))
    if as_json:
        return _json([of_snapshot(snapshot) for snapshot in found])
    if not found:
        return f"None yet. Take one: manage.py rollout snapshot {rollout.plan}"
    return "\n".join(_summary(snapshot) for snapshot in found)


def restore(rollout: Rollout, number: int, actor: Actor, *, replace: bool) -> str:
    """Restore a snapshot into an environment. Raises Refused."""
    snapshot = (
        Snapshot.objects.select_related("rollout")
        .filter(pk=number, rollout__plan=rollout.plan)
        .first()
    )
    if snapshot is None:
        raise runner.Refused(
            f"There is no snapshot {number} of {rollout.plan}. "
            f"List them: manage.py rollout snapshots {rollout.plan}"
        )
    runner.restore_snapshot(snapshot, rollout, replace=replace, actor=actor, source="shell")
    rows = sum(snapshot.counts.values())
    return (
        f"Restored snapshot {number} into {rollout.environment}: {rows:,} rows in "
        f"{len(snapshot.counts)} tables, in one transaction."
    )


def of_snapshot(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot for ``--json``."""
    return {
        "snapshot": snapshot.pk,
        "plan": snapshot.rollout.plan,
        "environment": snapshot.rollout.environment,
        "state": snapshot.state,
        "taken_at": snapshot.taken_at.isoformat() if snapshot.taken_at else None,
        "verified_at": snapshot.verified_at.isoformat() if snapshot.verified_at else None,
        "expires_at": snapshot.expires_at.isoformat() if snapshot.expires_at else None,
        "seconds": snapshot.seconds,
        "verify_seconds": snapshot.verify_seconds,
        "size": snapshot.size,
        "sha256": snapshot.sha256,
        "storage_name": snapshot.storage_name,
        "server_version": snapshot.server_version,
        "dump_version": snapshot.dump_version,
        "system_identifier": snapshot.system_identifier,
        "lsn": snapshot.lsn,
        "counts": snapshot.counts,
        "error": snapshot.error,
        "advice": snapshot.advice,
    }


def _summary(snapshot: Snapshot) -> str:
    taken = f"{snapshot.taken_at:%Y-%m-%d %H:%M:%S} UTC" if snapshot.taken_at else "not taken"
    text = (
        f"{snapshot.pk}  {snapshot.state}  {taken}  {snapshot.size:,} bytes  "
        f"{sum(snapshot.counts.values()):,} rows in {len(snapshot.counts)} tables"
    )
    return f"{text}\n  {snapshot.error} {snapshot.advice}" if snapshot.error else text


def _lines(snapshot: Snapshot) -> list[str]:
    lines = [_summary(snapshot)]
    if snapshot.sha256:
        lines += [f"  sha256 {snapshot.sha256}", f"  in {snapshot.storage_name}"]
    lines += [f"  {table:<40} {rows:>14,}" for table, rows in sorted(snapshot.counts.items())]
    return lines


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
