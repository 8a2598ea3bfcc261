"""Takes a snapshot and proves that it can be restored."""

import logging
import time
from contextlib import closing
from dataclasses import asdict
from functools import cached_property, partial
from typing import Any, ClassVar

import psycopg
from django.utils import timezone

from rollout import gates, journal
from rollout.engine.control import Control, Interrupted
from rollout.engine.snapshot import failures, scratch
from rollout.engine.snapshot.archive import Archive
from rollout.engine.snapshot.contents import Contents, Crosstab, Pair
from rollout.engine.snapshot.dump import dump, exported, prerequisites
from rollout.engine.snapshot.failures import SnapshotError
from rollout.engine.snapshot.programs import Programs
from rollout.engine.snapshot.restore import Recorded, verify
from rollout.journal.environments import target_of
from rollout.journal.events import Event
from rollout.journal.moments import by_the_database
from rollout.journal.rollouts import plan_of
from rollout.journal.snapshots import programs_for
from rollout.logs.texts import counted
from rollout.models import (
    SNAPSHOT_UNDER_WAY,
    Rollout,
    Snapshot,
    SnapshotState,
)
from rollout.plan import Plan, plans
from rollout.worker import dump_storage
from rollout.worker.leased_jobs import AttemptedJob

_log = logging.getLogger(__name__)


class SnapshotJob(AttemptedJob[Snapshot]):
    """Takes and verifies a snapshot, or resumes after its dump."""

    model = Snapshot
    working = SNAPSHOT_UNDER_WAY
    expected_errors = (SnapshotError,)
    ends: ClassVar = {
        SnapshotState.FAILED: Event.SNAPSHOT_FAILED,
        SnapshotState.CANCELLED: Event.SNAPSHOT_CANCELLED,
    }
    cancel_asked = Event.SNAPSHOT_CANCEL_ASKED_FOR
    again = "take a new snapshot"

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(snapshot)
        self.snapshot = snapshot
        self.target = target_of(snapshot.rollout.environment)

    @cached_property
    def plan(self) -> Plan:
        """Raises UnknownPlan, which fails the snapshot rather than its worker."""
        return plans.get(self.snapshot.rollout.plan)

    def work(self) -> bool:
        if self.snapshot.state == SnapshotState.CANCELLING:
            raise Interrupted("Cancelled before a worker started it.")
        self.count_attempt()
        self.refuse_more_attempts()
        if self.snapshot.state == SnapshotState.TAKING:
            self._take()
        self._verify()
        return True

    def when_cancelled(self) -> tuple[str, str]:
        return (
            "Cancelled before verification.",
            "Verify its dump, or delete it." if self.snapshot.sha256 else "Take a new snapshot.",
        )

    def cleared_up(self, state: str, advice: str) -> dict[str, Any]:
        """Remove an incomplete dump."""
        half = self.snapshot.storage_name if not self.snapshot.sha256 else ""
        try:
            dump_storage.remove(half)
        except OSError as left:
            advice = f"{advice} A part of its dump remains in the storage: {left}"
        self._clear_scratch()
        return {"advice": advice, "storage_name": "" if half else self.snapshot.storage_name}

    def log_data(self) -> dict[str, Any]:
        snapshot = self.snapshot
        return {"size": snapshot.size, "sha256": snapshot.sha256, "counts": snapshot.counts}

    def _take(self) -> None:
        begun = time.monotonic()
        self._remove_half()
        self.write(
            storage_name=dump_storage.name_of(
                self.plan.name, self.snapshot.rollout.environment, self.snapshot.pk, self.token
            ),
            size=0,
            activity="Counting rows and value pairs.",
            phases=_phases(self.snapshot.rollout),
        )
        taken_at = by_the_database()
        with self.target.connect() as connection:
            programs = programs_for(connection)
            with exported(connection, self.plan, self.lease) as source:
                self.write(
                    taken_at=taken_at,
                    expires_at=taken_at + self.plan.keep_snapshots,
                    exported_snapshot=source.id,
                    lsn=source.lsn,
                    server_version=source.server_version,
                    dump_version=programs.version,
                    system_identifier=source.system_identifier,
                    counts=source.contents.counts,
                    crosstabs=[asdict(crosstab) for crosstab in source.contents.crosstabs],
                    prerequisites=prerequisites(programs, self.target, source, self.lease),
                    left_out=source.left_out,
                    activity=f"Dumping {counted(len(source.relations), 'table')}.",
                )
                # Ends the program of a dump that stops half-way.
                with closing(dump(programs, self.target, source, self.lease)) as chunks:
                    stored = dump_storage.store(
                        self.snapshot.storage_name,
                        chunks,
                        tell=lambda size: self.write(size=size),
                    )
        contents = _archive(programs, stored.name, self.lease).contents()
        with journal.atomic():
            self.write(
                SnapshotState.TAKEN,
                storage_name=stored.name,
                size=stored.size,
                sha256=stored.sha256,
                contents=contents,
                seconds=time.monotonic() - begun,
            )
            self.record(Event.SNAPSHOT_TAKEN, f"{stored.size:,} bytes dumped; verification next.")

    def _remove_half(self) -> None:
        """Remove what a crashed worker left."""
        try:
            dump_storage.remove(self.snapshot.storage_name)
        except OSError as error:
            raise failures.of_storage(error) from error

    def _verify(self) -> None:
        begun = time.monotonic()
        snapshot = self.snapshot
        self.write(SnapshotState.VERIFYING, activity="Checking the dump's checksum.")
        stored = dump_storage.measured(snapshot.storage_name, check=self.lease.raise_if_stopped)
        if (stored.size, stored.sha256) != (snapshot.size, snapshot.sha256):
            raise SnapshotError(
                f"Dump checksum mismatch: {stored.size:,} bytes with the hash {stored.sha256}, "
                f"expected {snapshot.size:,} with {snapshot.sha256}.",
                "The file changed after it was written. Find out why, then take a new snapshot.",
            )
        self.write(activity="Restoring into a scratch database and comparing.")
        with self.target.connect() as connection:
            programs = programs_for(connection)
        verification = verify(
            self.target,
            self.plan,
            _archive(programs, snapshot.storage_name, self.lease),
            recorded(snapshot),
            self.lease,
            snapshot=snapshot.pk,
            token=self.token,
        )
        self.write(
            restored_counts=verification.contents.counts, differences=verification.differences
        )
        if verification.differences:
            raise SnapshotError(
                f"The restored copy differs: {' '.join(verification.differences)}",
                "Take a new snapshot. If its copy differs too, find out what changes the tables "
                "outside PostgreSQL's transactions.",
            )
        with journal.atomic():
            self.write(
                SnapshotState.VERIFIED,
                verified_at=timezone.now(),
                verify_seconds=time.monotonic() - begun,
                activity="",
            )
            self.record(
                Event.SNAPSHOT_VERIFIED,
                f"{counted(sum(snapshot.counts.values()), 'row')} in "
                f"{counted(len(snapshot.counts), 'table')}.",
            )

    def _clear_scratch(self) -> None:
        try:
            with self.target.connect() as connection:
                scratch.drop_leftovers(connection, self.snapshot.pk)
        except psycopg.Error as error:
            _log.warning("Scratch databases of snapshot %s: %s", self.snapshot.pk, error)


def recorded(snapshot: Snapshot) -> Recorded:
    """What the journal knows of a snapshot, as the engine wants it."""
    return Recorded(
        Contents(
            snapshot.counts,
            [
                Crosstab(**{**crosstab, "cells": [Pair(**cell) for cell in crosstab["cells"]]})
                for crosstab in snapshot.crosstabs
            ],
        ),
        snapshot.prerequisites,
        snapshot.left_out,
    )


def _archive(programs: Programs, name: str, control: Control) -> Archive:
    return Archive(programs, partial(dump_storage.open_dump, name), control)


def newest_phase_begun(rollout: Rollout) -> int:
    runs = gates.newest_runs(rollout)
    return max((n for n, run in runs.items() if not gates.is_not_started(run)), default=-1)


def _phases(rollout: Rollout) -> list[str]:
    runs = gates.newest_runs(rollout)
    return [
        "done"
        if gates.is_done(runs.get(number))
        else "untouched"
        if gates.is_not_started(runs.get(number))
        else "begun"
        for number in range(len(plan_of(rollout).phases))
    ]
