"""The shell's verbs for snapshots."""

import json
from collections.abc import Callable
from typing import Any

from rollout import runner
from rollout.journal.actors import Actor
from rollout.journal.moments import in_words
from rollout.journal.snapshots import newest_verified
from rollout.management.actors import add_user
from rollout.models import (
    Environment,
    EnvironmentState,
    Restore,
    RestoreState,
    Rollout,
    Snapshot,
    SnapshotState,
)
from rollout.runner.restores import make_staging, restore_now
from rollout.runner.snapshots import make_now


def add_verbs(verb: Callable[..., Any]) -> None:
    """Add the verbs to the command's parser."""
    verb("snapshot", "Take a snapshot and verify it by restoring it elsewhere.", as_json=True)
    verb("snapshots", "List the snapshots of a rollout.", as_json=True)
    restore = verb("restore", "Put a snapshot into an environment.")
    restore.add_argument("snapshot", type=int, help="its number, as snapshots lists it")
    restore.add_argument("--yes", action="store_true", help="replace the tables that are there")
    restore.add_argument(
        "--reason", default="", help="why; asked for production, where another lead approves it"
    )
    add_user(restore)
    stage = verb("stage", "Make a staging database from a snapshot.")
    stage.add_argument("--snapshot", type=int, help="its number (the newest verified one)")
    stage.add_argument("--name", default="", help="of the environment (staging)")
    verb("unstage", "Drop the database that an environment was made in.")


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


def restore(
    rollout: Rollout, number: int, actor: Actor, *, replace: bool, reason: str
) -> tuple[str, bool]:
    """Restore a snapshot into an environment: what to print, and whether it is done.

    Raises Refused.
    """
    asked = restore_now(
        _snapshot(rollout, number),
        rollout,
        replace=replace,
        reason=reason,
        actor=actor,
        source="shell",
    )
    if asked.state == RestoreState.WAITING:
        return (
            f"Restore {asked.pk} waits for another lead: its approval is given on the page of "
            f"snapshot {number}, /rollout/snapshots/{number}/."
        ), False
    return _said(asked)


def stage(rollout: Rollout, number: int | None, name: str, actor: Actor) -> tuple[str, bool]:
    """Make a staging database: what to print, and whether it is there. Raises Refused."""
    snapshot = _newest(rollout) if number is None else _snapshot(rollout, number)
    return _said(make_staging(snapshot, name=name, actor=actor, source="shell", now=True))


def unstage(rollout: Rollout, actor: Actor) -> str:
    """Drop a made environment. Raises Refused."""
    made = Environment.objects.filter(
        name=rollout.environment, state=EnvironmentState.READY
    ).first()
    if made is None:
        raise runner.Refused(
            f"{rollout.environment} was not made from a snapshot: it is the project's own."
        )
    runner.drop_environment(made, actor=actor, source="shell")
    return f"Dropped {made.name} and its database {made.database}."


def _said(asked: Restore) -> tuple[str, bool]:
    if asked.state != RestoreState.DONE:
        return f"{asked.error} {asked.advice}".strip(), False
    rows = sum(asked.snapshot.counts.values())
    return (
        f"Restored snapshot {asked.snapshot_id} into {asked.rollout.environment}: {rows:,} rows "
        f"in {len(asked.snapshot.counts)} tables, in one transaction."
    ), True


def _snapshot(rollout: Rollout, number: int) -> Snapshot:
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
    return snapshot


def _newest(rollout: Rollout) -> Snapshot:
    newest = newest_verified(rollout)
    if newest is None:
        raise runner.Refused(
            f"There is no verified snapshot of {rollout.environment}. "
            f"Take one: manage.py rollout snapshot {rollout.plan}"
        )
    return newest


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
    taken = f"{in_words(snapshot.taken_at)}" if snapshot.taken_at else "not taken"
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
