"""The shell's verbs for snapshots."""

from typing import Any

from rollout import runner
from rollout.journal.moments import in_words
from rollout.journal.snapshots import newest_verified
from rollout.logs.texts import counted
from rollout.management.actors import ShellActor, actor_of, add_user
from rollout.management.verbs import BY_A_WORKER, AddVerb, Output, names_of, wait_while
from rollout.models import (
    RESTORE_WORKING,
    Environment,
    EnvironmentState,
    Restore,
    RestoreState,
    Rollout,
    Snapshot,
    SnapshotState,
)
from rollout.runner.restores import make_staging, restore_now, restore_snapshot
from rollout.runner.snapshots import make_now


def add_verbs(add: AddVerb) -> None:
    sub = add(
        "snapshot",
        take,
        "Take a snapshot and verify it by restoring it into a scratch database.",
        example="snapshot order-states",
        no="the snapshot is not verified",
        as_json=True,
        waits=BY_A_WORKER,
    )
    add_user(sub)
    add(
        "snapshots",
        list_of,
        "List the snapshots of a rollout, newest first.",
        example="snapshots order-states --json",
        as_json=True,
    )
    sub = add(
        "restore",
        restore,
        "Restore a snapshot into an environment. Into production, another lead approves it first.",
        example="restore order-states 12 --env staging --yes",
        no="the restore failed, or waits for an approval",
        as_json=True,
        waits=BY_A_WORKER,
    )
    sub.add_argument("snapshot", type=int, help="number of the snapshot, as printed by snapshots")
    sub.add_argument("--yes", action="store_true", help="replace existing tables")
    sub.add_argument(
        "--reason",
        default="",
        help="reason; required for production, where another lead must approve",
    )
    add_user(sub)
    sub = add(
        "stage",
        stage,
        "Create a staging database from a snapshot.",
        example="stage order-states --name staging",
        no="the database was not created",
        as_json=True,
        waits=BY_A_WORKER,
    )
    sub.add_argument(
        "--snapshot", type=int, help="number of the snapshot (default: the newest verified)"
    )
    sub.add_argument("--name", default="", help="name of the environment (default: staging)")
    add_user(sub)
    add(
        "unstage",
        unstage,
        "Drop a staging database created by stage.",
        example="unstage order-states --env staging",
    )


def take(out: Output, rollout: Rollout, wait: bool, user: str | None, as_json: bool) -> int:
    """Take a snapshot and verify it, here or by a worker. Raises Refused."""
    actor = actor_of(user, "take_snapshot", rollout.environment)
    if wait:
        snapshot = runner.take_snapshot(rollout, actor=actor, source="shell")
        wait_while(lambda: snapshot.under_way, snapshot, out)
    else:
        snapshot = make_now(rollout, actor=actor, source="shell")
    verified = snapshot.state == SnapshotState.VERIFIED
    if as_json:
        return out.say_json(of_snapshot(snapshot), good=verified)
    return out.say("\n".join(_lines(snapshot)), good=verified)


def list_of(out: Output, rollout: Rollout, as_json: bool) -> int:
    """The snapshots of a rollout, newest first."""
    snapshots = list(Snapshot.objects.filter(rollout=rollout))
    if as_json:
        return out.say_json([of_snapshot(snapshot) for snapshot in snapshots])
    if not snapshots:
        return out.say(f"No snapshots yet. Take one: manage.py rollout snapshot {rollout.plan}")
    return out.say("\n".join(_summary(snapshot) for snapshot in snapshots))


def restore(
    out: Output,
    rollout: Rollout,
    snapshot: int,
    yes: bool,
    reason: str,
    user: str | None,
    wait: bool,
    as_json: bool,
) -> int:
    """Restore a snapshot into an environment. Raises Refused."""
    actor = actor_of(user, "restore_snapshot", rollout.environment)
    asked = (restore_snapshot if wait else restore_now)(
        _snapshot(rollout, snapshot),
        rollout,
        replace=yes,
        reason=reason,
        actor=actor,
        source="shell",
    )
    return _say_end(out, asked, as_json)


def stage(
    out: Output,
    rollout: Rollout,
    snapshot: int | None,
    name: str,
    user: str | None,
    wait: bool,
    as_json: bool,
) -> int:
    """Make a staging database. Raises Refused."""
    actor = actor_of(user, "rehearse_rollout", rollout.environment)
    source = _newest(rollout) if snapshot is None else _snapshot(rollout, snapshot)
    made = make_staging(source, name=name, actor=actor, source="shell", now=not wait)
    return _say_end(out, made, as_json)


def unstage(out: Output, rollout: Rollout) -> int:
    """Drop a made environment. Raises Refused."""
    made = Environment.objects.filter(
        name=rollout.environment, state=EnvironmentState.READY
    ).first()
    if made is None:
        raise runner.Refused(
            f"{rollout.environment} is a configured environment, so it cannot be dropped. Name "
            "one created by stage: --env NAME"
        )
    runner.drop_environment(made, actor=ShellActor(), source="shell")
    return out.say(f"Dropped {made.name} and its database {made.database}.")


def _say_end(out: Output, asked: Restore, as_json: bool) -> int:
    """Wait for a restore that a worker makes: good if it is done."""
    wait_while(lambda: asked.state in RESTORE_WORKING, asked, out)
    is_good = asked.state == RestoreState.DONE
    if as_json:
        return out.say_json(of_restore(asked), good=is_good)
    if asked.state == RestoreState.WAITING:
        return out.say(
            f"Restore {asked.pk} awaits approval by another lead at "
            f"/rollout/snapshots/{asked.snapshot_id}/.",
            good=False,
        )
    if not is_good:
        return out.say(f"{asked.error} {asked.advice}".strip(), good=False)
    rows = sum(asked.snapshot.counts.values())
    return out.say(
        f"Restored snapshot {asked.snapshot_id} into {asked.rollout.environment}: "
        f"{counted(rows, 'row')} "
        f"in {counted(len(asked.snapshot.counts), 'table')}, in one transaction."
    )


def of_restore(asked: Restore) -> dict[str, Any]:
    """A restore for ``--json``."""
    return {
        "restore": asked.pk,
        **names_of(asked.rollout),
        "snapshot": asked.snapshot_id,
        "state": asked.state,
        "counts": asked.snapshot.counts,
        "error": asked.error,
        "advice": asked.advice,
    }


def _snapshot(rollout: Rollout, number: int) -> Snapshot:
    snapshot = (
        Snapshot.objects.select_related("rollout")
        .filter(pk=number, rollout__plan=rollout.plan)
        .first()
    )
    if snapshot is None:
        raise runner.Refused(
            f"Snapshot {number} of {rollout.plan} not found. List snapshots: manage.py rollout "
            f"snapshots {rollout.plan}"
        )
    return snapshot


def _newest(rollout: Rollout) -> Snapshot:
    newest = newest_verified(rollout)
    if newest is None:
        raise runner.Refused(
            f"No verified snapshot of {rollout.environment}. Take one: manage.py rollout snapshot "
            f"{rollout.plan}"
        )
    return newest


def of_snapshot(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot for ``--json``."""
    moments = {
        name: moment.isoformat() if (moment := getattr(snapshot, name)) else None
        for name in ("taken_at", "verified_at", "expires_at")
    }
    figures = {
        name: getattr(snapshot, name)
        for name in (
            *("seconds", "verify_seconds", "size", "sha256", "storage_name", "server_version"),
            *("dump_version", "system_identifier", "lsn", "counts", "error", "advice"),
        )
    }
    names = names_of(snapshot.rollout)
    return {"snapshot": snapshot.pk, **names, "state": snapshot.state, **moments, **figures}


def _summary(snapshot: Snapshot) -> str:
    taken = in_words(snapshot.taken_at) if snapshot.taken_at else "not started"
    text = (
        f"{snapshot.pk}  {snapshot.state}  {taken}  {snapshot.size:,} bytes  "
        f"{counted(sum(snapshot.counts.values()), 'row')} in "
        f"{counted(len(snapshot.counts), 'table')}"
    )
    return f"{text}\n  {snapshot.error} {snapshot.advice}" if snapshot.error else text


def _lines(snapshot: Snapshot) -> list[str]:
    lines = [_summary(snapshot)]
    if snapshot.sha256:
        lines += [f"  sha256 {snapshot.sha256}", f"  in {snapshot.storage_name}"]
    lines += [f"  {table:<40} {rows:>14,}" for table, rows in sorted(snapshot.counts.items())]
    return lines
