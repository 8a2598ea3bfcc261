"""Takes snapshots and proves that they can be restored; the only writer of their state."""

import logging
import time
from contextlib import closing
from dataclasses import asdict
from functools import cached_property, partial
from typing import Any

import psycopg
from django.conf import settings
from django.utils import timezone

from rollout import dumps, gates, journal, log, queue
from rollout.engine.control import Control, Interrupted
from rollout.engine.snapshot import problem, scratch
from rollout.engine.snapshot.archive import Archive
from rollout.engine.snapshot.contents import Contents, Crosstab, Pair
from rollout.engine.snapshot.dump import dump, exported
from rollout.engine.snapshot.problem import SnapshotError
from rollout.engine.snapshot.programs import Programs, find_programs
from rollout.engine.snapshot.restore import Recorded, verify
from rollout.engine.target import Connection
from rollout.environments import target_of
from rollout.events import Event
from rollout.models import (
    SNAPSHOT_ENDED,
    SNAPSHOT_UNDER_WAY,
    WORKING,
    Rollout,
    Snapshot,
    SnapshotState,
)
from rollout.plan import Plan, plans
from rollout.runner import lease
from rollout.runner.lease import Lease
from rollout.runner.verbs import (
    Actor,
    Refused,
    active_run,
    alone_with,
    plan_of,
    refuse_out_of_reach,
)

SNAPSHOT_GOES_ON = (SnapshotState.TAKEN, SnapshotState.VERIFYING, SnapshotState.VERIFIED)
_ENDED = {
    SnapshotState.FAILED: Event.SNAPSHOT_FAILED,
    SnapshotState.CANCELLED: Event.SNAPSHOT_CANCELLED,
}
MOST_ATTEMPTS = 3
"""How many workers may die of a snapshot before it counts as failed."""

_log = logging.getLogger(__name__)


def take_snapshot(rollout: Rollout, *, actor: Actor, source: str = "web") -> Snapshot:
    """Ask for a snapshot, to be verified as soon as it is taken. Raises Refused."""
    refuse_out_of_reach(rollout)
    with alone_with(rollout):
        snapshot = _asked_for(rollout, actor, source)
        queue.send_snapshot(snapshot)
    return snapshot


def verify_snapshot(snapshot: Snapshot, *, actor: Actor, source: str = "web") -> None:
    """Ask for a dump that is there to be restored and compared once more. Raises Refused."""
    refuse_out_of_reach(snapshot.rollout)
    with alone_with(snapshot.rollout):
        _refuse_beside_another(snapshot.rollout)
        changed = Snapshot.objects.filter(pk=snapshot.pk, state__in=SNAPSHOT_ENDED).exclude(
            sha256=""
        )
        if not changed.update(
            state=SnapshotState.TAKEN,
            attempts=0,
            error="",
            advice="",
            differences=[],
            lease_until=lease.grace(),
        ):
            raise Refused("There is no dump of it to verify. Take another snapshot.")
        snapshot.refresh_from_db()
        _record(
            snapshot, Event.VERIFICATION_ASKED_FOR, "Asked to verify", actor.get_username(), source
        )
        queue.send_snapshot(snapshot)


def make_now(rollout: Rollout, *, actor: Actor, source: str) -> Snapshot:
    """Take and verify a snapshot in this process, for a shell that waits. Raises Refused."""
    with alone_with(rollout):
        snapshot = _asked_for(rollout, actor, source)
    carry_out(snapshot.pk, snapshot.token, from_queue=False)
    snapshot.refresh_from_db()
    return snapshot


def cancel_snapshot(snapshot: Snapshot, *, actor: Actor, source: str = "web") -> None:
    """Stop a snapshot that is under way; a dump that is not whole goes. Raises Refused."""
    with alone_with(snapshot.rollout):
        working = [state for state in SNAPSHOT_UNDER_WAY if state != SnapshotState.CANCELLING]
        changed = Snapshot.objects.filter(pk=snapshot.pk, state__in=working)
        if not changed.update(state=SnapshotState.CANCELLING):
            snapshot.refresh_from_db()
            if snapshot.state == SnapshotState.CANCELLING:
                raise Refused(f"Snapshot {snapshot.pk} is being cancelled. Wait until it stops.")
            raise Refused("It is not under way any more: there is nothing to cancel.")
        snapshot.refresh_from_db()
        # Whoever holds it, or has its message before them, clears up.
        _record(
            snapshot,
            Event.SNAPSHOT_CANCEL_ASKED_FOR,
            "Asked to cancel",
            actor.get_username(),
            source,
        )


def delete_snapshot(snapshot: Snapshot, *, actor: Actor, source: str = "web") -> None:
    """Remove a snapshot's dump; what is known of it stays. Raises Refused."""
    with alone_with(snapshot.rollout):
        snapshot.refresh_from_db()
        if snapshot.under_way:
            raise Refused("It is under way. Wait for its end.")
        if snapshot.state == SnapshotState.DELETED:
            raise Refused("It is deleted already.")
        _delete(snapshot, actor.get_username(), source, "Deleted")


def remove_expired() -> None:
    """Delete the snapshots that their plan no longer asks for."""
    expired = Snapshot.objects.filter(expires_at__lt=timezone.now(), state__in=SNAPSHOT_ENDED)
    for snapshot in expired.select_related("rollout"):
        try:
            _delete(snapshot, "watchdog", "watchdog", "Deleted as its time was over:")
        except Refused as refusal:
            _log.warning("Snapshot %s: %s", snapshot.pk, refusal)


def carry_out(snapshot_id: int, token: int, *, from_queue: bool = True) -> None:
    """Take and verify a snapshot, or go on after its dump, if the token is still the newest one."""
    snapshot = (
        Snapshot.objects.select_related("rollout")
        .filter(pk=snapshot_id, state__in=SNAPSHOT_UNDER_WAY)
        .first()
    )
    if snapshot is None or not lease.claim(snapshot, token):
        return
    with Lease(snapshot, on_wait=lambda _reason: None, from_queue=from_queue) as held:
        work = _Work(snapshot, held)
        try:
            work.carry_on()
        except Interrupted:
            work.stopped()
        except SnapshotError as error:
            work.fail(str(error), error.advice)
        except psycopg.Error as error:
            if held.lost or held.asked_to:
                work.stopped()
                return
            meant = problem.of_database(error)
            work.fail(str(meant), meant.advice)
        except Exception as error:
            _log.exception("Snapshot %s", snapshot.pk)
            work.fail(
                f"{type(error).__name__}: {error}", "Look at the worker's log, then try again."
            )


class _Work:
    """A worker's work on one snapshot. Every write of it is fenced by the lease's token."""

    def __init__(self, snapshot: Snapshot, held: Lease) -> None:
        self.snapshot = snapshot
        self.held = held
        self.token = snapshot.token
        self.target = target_of(snapshot.rollout.environment)

    @cached_property
    def plan(self) -> Plan:
        """Raises UnknownPlan, which fails the snapshot rather than its worker."""
        return plans.get(self.snapshot.rollout.plan)

    def carry_on(self) -> None:
        if self.snapshot.state == SnapshotState.CANCELLING:
            raise Interrupted("It was cancelled before a worker began with it.")
        attempts = self.snapshot.attempts + 1
        self._write(attempts=attempts)
        if attempts > MOST_ATTEMPTS:
            raise SnapshotError(
                f"{MOST_ATTEMPTS} workers died while they were at it.",
                "Look whether their machine runs out of memory or disk, then take another.",
            )
        if self.snapshot.state == SnapshotState.TAKING:
            self._take()
        self._verify()

    def fail(self, error: str, advice: str) -> None:
        """Write down why this is no good snapshot; a dump that is not whole goes."""
        self._end(SnapshotState.FAILED, error, advice)

    def stopped(self) -> None:
        """The work came to a safe point: it was cancelled, or is another worker's now."""
        self.snapshot.refresh_from_db()
        if self.snapshot.token == self.token and self.snapshot.state == SnapshotState.CANCELLING:
            self._end(
                SnapshotState.CANCELLED,
                "It was cancelled before it was verified.",
                "Have its dump verified, or delete it."
                if self.snapshot.sha256
                else "Take another snapshot.",
            )

    def _end(self, state: SnapshotState, error: str, advice: str) -> None:
        half = self.snapshot.storage_name if not self.snapshot.sha256 else ""
        try:
            dumps.remove(half)
        except OSError as left:
            advice = f"{advice} A part of its dump is left in the storage: {left}"
        self._clear_scratch()
        try:
            with journal.atomic():
                self._write(
                    state=state,
                    error=error,
                    advice=advice,
                    doing="",
                    storage_name="" if half else self.snapshot.storage_name,
                )
                actor = self.snapshot.actor_name
                if state == SnapshotState.CANCELLED:
                    actor = log.last_actor(
                        Event.SNAPSHOT_CANCEL_ASKED_FOR,
                        rollout=self.snapshot.rollout,
                        snapshot=self.snapshot.pk,
                    )
                self._record(_ENDED[state], f"{error} {advice}", actor=actor)
        except Interrupted:
            return

    def _take(self) -> None:
        begun = time.monotonic()
        self._remove_half()
        self._write(
            storage_name=dumps.name_of(
                self.plan.name, self.snapshot.rollout.environment, self.snapshot.pk, self.token
            ),
            size=0,
            doing="Counting rows and pairs of values.",
            phases=_phases(self.snapshot.rollout),
        )
        taken_at = timezone.now()
        with self.target.connect() as connection:
            programs = programs_for(connection)
            with exported(connection, self.plan, self.held) as found:
                self._write(
                    taken_at=taken_at,
                    expires_at=taken_at + self.plan.keep_snapshots,
                    exported_snapshot=found.id,
                    lsn=found.lsn,
                    server_version=found.server_version,
                    dump_version=programs.version,
                    system_identifier=found.system_identifier,
                    counts=found.contents.counts,
                    crosstabs=[asdict(each) for each in found.contents.crosstabs],
                    prerequisites=found.prerequisites,
                    left_out=found.left_out,
                    doing=f"Dumping {len(found.relations)} tables.",
                )
                # A dump that is stopped half way ends its program here, not when it is collected.
                with closing(dump(programs, self.target, found, self.held)) as chunks:
                    stored = dumps.store(
                        self.snapshot.storage_name,
                        chunks,
                        tell=lambda size: self._write(size=size),
                    )
        contents = _archive(programs, stored.name, self.held).contents()
        with journal.atomic():
            self._write(
                state=SnapshotState.TAKEN,
                storage_name=stored.name,
                size=stored.size,
                sha256=stored.sha256,
                contents=contents,
                seconds=time.monotonic() - begun,
            )
            self._record(Event.SNAPSHOT_TAKEN, f"{stored.size:,} bytes, to be verified now.")

    def _remove_half(self) -> None:
        """What a worker that died has left."""
        try:
            dumps.remove(self.snapshot.storage_name)
        except OSError as error:
            raise problem.of_storage(error) from error

    def _verify(self) -> None:
        begun = time.monotonic()
        snapshot = self.snapshot
        self._write(state=SnapshotState.VERIFYING, doing="Reading the dump through.")
        stored = dumps.measured(snapshot.storage_name, check=self.held.check)
        if (stored.size, stored.sha256) != (snapshot.size, snapshot.sha256):
            raise SnapshotError(
                f"The dump is not what was written: {stored.size:,} bytes with the hash "
                f"{stored.sha256}, not {snapshot.size:,} with {snapshot.sha256}.",
                "Somebody or something changed it. Find out what, and take another snapshot.",
            )
        self._write(doing="Restoring it into a scratch database and comparing.")
        with self.target.connect() as connection:
            programs = programs_for(connection)
        verification = verify(
            self.target,
            self.plan,
            _archive(programs, snapshot.storage_name, self.held),
            recorded(snapshot),
            self.held,
            snapshot=snapshot.pk,
            token=self.token,
        )
        self._write(
            restored_counts=verification.contents.counts, differences=verification.differences
        )
        if verification.differences:
            raise SnapshotError(
                f"The restored copy is another: {' '.join(verification.differences)}",
                "Take another snapshot; if that is another too, look for what changes the tables "
                "behind PostgreSQL's snapshots.",
            )
        with journal.atomic():
            self._write(
                state=SnapshotState.VERIFIED,
                verified_at=timezone.now(),
                verify_seconds=time.monotonic() - begun,
                doing="",
            )
            self._record(
                Event.SNAPSHOT_VERIFIED,
                f"{sum(snapshot.counts.values()):,} rows in {len(snapshot.counts)} tables.",
            )

    def _clear_scratch(self) -> None:
        try:
            with self.target.connect() as connection:
                scratch.drop_leftovers(connection, self.snapshot.pk)
        except psycopg.Error as error:
            _log.warning("Scratch databases of snapshot %s: %s", self.snapshot.pk, error)

    def _write(self, **fields: Any) -> None:
        """Raises Interrupted where it was cancelled, or is another worker's by now."""
        for name, value in fields.items():
            setattr(self.snapshot, name, value)
        mine = Snapshot.objects.filter(pk=self.snapshot.pk, token=self.token)
        if fields.get("state") in SNAPSHOT_GOES_ON:
            mine = mine.exclude(state=SnapshotState.CANCELLING)
        if not mine.update(**fields):
            raise Interrupted("It was cancelled, or another worker has taken it over.")

    def _record(self, event: Event, message: str, *, actor: str = "") -> None:
        snapshot = self.snapshot
        log.record(
            event,
            f"Snapshot {snapshot.pk}: {message}",
            actor=actor or snapshot.actor_name,
            source="worker",
            rollout=snapshot.rollout,
            data={
                "snapshot": snapshot.pk,
                "size": snapshot.size,
                "sha256": snapshot.sha256,
                "counts": snapshot.counts,
            },
        )


def recorded(snapshot: Snapshot) -> Recorded:
    """What the journal knows of a snapshot, as the engine wants it."""
    return Recorded(
        Contents(
            snapshot.counts,
            [
                Crosstab(**{**each, "cells": [Pair(**cell) for cell in each["cells"]]})
                for each in snapshot.crosstabs
            ],
        ),
        snapshot.prerequisites,
        snapshot.left_out,
    )


def _archive(programs: Programs, name: str, control: Control) -> Archive:
    return Archive(programs, partial(dumps.open_dump, name), control)


def programs_for(connection: Connection) -> Programs:
    """The client programs that fit a server. Raises SnapshotError."""
    given = getattr(settings, "ROLLOUT", {}).get("PG_BIN", "")
    return find_programs(connection.info.server_version // 10_000, given=str(given))


def _asked_for(rollout: Rollout, actor: Actor, source: str) -> Snapshot:
    plan = plan_of(rollout)
    _refuse_beside_another(rollout)
    active = active_run(rollout)
    if active is not None and active.state in WORKING:
        raise Refused(
            f"Phase {active.phase} is {active.get_state_display().lower()}, and a snapshot would "
            "hold its locks up. Wait for its end, or pause it."
        )
    snapshot = Snapshot.objects.create(
        rollout=rollout,
        run=gates.newest_runs(rollout).get(_newest_phase(rollout)),
        actor_name=actor.get_username(),
        plan_digest=plan.digest,
        lease_until=lease.grace(),
    )
    _record(snapshot, Event.SNAPSHOT_ASKED_FOR, "Asked for", actor.get_username(), source)
    return snapshot


def _refuse_beside_another(rollout: Rollout) -> None:
    other = Snapshot.objects.filter(rollout=rollout, state__in=SNAPSHOT_UNDER_WAY).first()
    if other is not None:
        raise Refused(
            f"{other.actor_name}'s snapshot {other.pk} is under way. Wait until it is verified."
        )


def _newest_phase(rollout: Rollout) -> int:
    runs = gates.newest_runs(rollout)
    return max((n for n, run in runs.items() if not gates.is_untouched(run)), default=-1)


def _phases(rollout: Rollout) -> list[str]:
    runs = gates.newest_runs(rollout)
    return [
        "done"
        if gates.is_done(runs.get(number))
        else "untouched"
        if gates.is_untouched(runs.get(number))
        else "begun"
        for number in range(len(plan_of(rollout).phases))
    ]


def _delete(snapshot: Snapshot, actor: str, source: str, verb: str) -> None:
    try:
        dumps.remove(snapshot.storage_name)
    except OSError as error:
        raise Refused(f"The storage would not delete it: {error}. Look at the storage.") from error
    Snapshot.objects.filter(pk=snapshot.pk).update(
        state=SnapshotState.DELETED, deleted_at=timezone.now()
    )
    snapshot.refresh_from_db()
    _record(snapshot, Event.SNAPSHOT_DELETED, verb, actor, source)


def _record(snapshot: Snapshot, event: Event, verb: str, actor: str, source: str) -> None:
    log.record(
        event,
        f"{verb} snapshot {snapshot.pk}.",
        actor=actor,
        source=source,
        rollout=snapshot.rollout,
        data={"snapshot": snapshot.pk},
    )
