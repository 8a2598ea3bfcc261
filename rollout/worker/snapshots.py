"""Takes a snapshot and proves that it can be restored."""

import logging
import time
from contextlib import closing
from dataclasses import asdict
from functools import cached_property, partial
from typing import Any

import psycopg
from django.utils import timezone

from rollout import gates, journal
from rollout.engine.control import Control, Interrupted
from rollout.engine.snapshot import problem, scratch
from rollout.engine.snapshot.archive import Archive
from rollout.engine.snapshot.contents import Contents, Crosstab, Pair
from rollout.engine.snapshot.dump import dump, exported, prerequisites
from rollout.engine.snapshot.problem import SnapshotError
from rollout.engine.snapshot.programs import Programs
from rollout.engine.snapshot.restore import Recorded, verify
from rollout.journal import activity_log
from rollout.journal.environments import target_of
from rollout.journal.events import Event
from rollout.journal.moments import by_the_database
from rollout.journal.rollouts import plan_of
from rollout.journal.snapshots import programs_for
from rollout.models import (
    SNAPSHOT_UNDER_WAY,
    Rollout,
    Snapshot,
    SnapshotState,
)
from rollout.plan import Plan, plans
from rollout.worker import dump_storage, leases
from rollout.worker.leases import Lease

_log = logging.getLogger(__name__)


SNAPSHOT_GOES_ON = (SnapshotState.TAKEN, SnapshotState.VERIFYING, SnapshotState.VERIFIED)


_ENDED = {
    SnapshotState.FAILED: Event.SNAPSHOT_FAILED,
    SnapshotState.CANCELLED: Event.SNAPSHOT_CANCELLED,
}


MOST_ATTEMPTS = 3
"""How many workers may die of a snapshot before it counts as failed."""


def carry_out(snapshot_id: int, token: int, *, from_queue: bool = True) -> None:
    """Take and verify a snapshot, or go on after its dump, if the token is still the newest one."""
    snapshot = (
        Snapshot.objects.select_related("rollout")
        .filter(pk=snapshot_id, state__in=SNAPSHOT_UNDER_WAY)
        .first()
    )
    if snapshot is None or not leases.claim(snapshot, token):
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
            dump_storage.remove(half)
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
                    actor = activity_log.last_actor(
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
            storage_name=dump_storage.name_of(
                self.plan.name, self.snapshot.rollout.environment, self.snapshot.pk, self.token
            ),
            size=0,
            doing="Counting rows and pairs of values.",
            phases=_phases(self.snapshot.rollout),
        )
        taken_at = by_the_database()
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
                    prerequisites=prerequisites(programs, self.target, found, self.held),
                    left_out=found.left_out,
                    doing=f"Dumping {len(found.relations)} tables.",
                )
                # A dump that is stopped half way ends its program here, not when it is collected.
                with closing(dump(programs, self.target, found, self.held)) as chunks:
                    stored = dump_storage.store(
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
            dump_storage.remove(self.snapshot.storage_name)
        except OSError as error:
            raise problem.of_storage(error) from error

    def _verify(self) -> None:
        begun = time.monotonic()
        snapshot = self.snapshot
        self._write(state=SnapshotState.VERIFYING, doing="Reading the dump through.")
        stored = dump_storage.measured(snapshot.storage_name, check=self.held.check)
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
        activity_log.record(
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
    return Archive(programs, partial(dump_storage.open_dump, name), control)


def newest_phase_begun(rollout: Rollout) -> int:
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
