"""Dumps of a plan's tables."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q
from django.urls import reverse

from rollout.models.rollouts import Attempted, Rollout
from rollout.models.runs import PhaseRun


class SnapshotState(models.TextChoices):
    TAKING = "taking", "Taking"
    TAKEN = "taken", "Unverified"
    VERIFYING = "verifying", "Verifying"
    VERIFIED = "verified", "Verified"
    CANCELLING = "cancelling", "Cancelling"
    CANCELLED = "cancelled", "Cancelled"
    FAILED = "failed", "Failed"
    DELETED = "deleted", "Deleted"


SNAPSHOT_UNDER_WAY = (
    SnapshotState.TAKING,
    SnapshotState.TAKEN,
    SnapshotState.VERIFYING,
    SnapshotState.CANCELLING,
)
SNAPSHOT_ENDED = (SnapshotState.VERIFIED, SnapshotState.CANCELLED, SnapshotState.FAILED)
"""States in which a snapshot's dump may be verified again or deleted."""


class Snapshot(Attempted):
    """A dump of the plan's tables, and what the server counted in them.

    Only a verified one counts: it was restored elsewhere and found to hold just that. ``crosstabs``
    is [{"table", "legacy_column", "column", "cells": [{"legacy": text or null, "new": name or null,
    "rows"}], "pairs": how many there are, "digest": of all of them}].
    """

    kind = task = "snapshot"
    under_way_states = SNAPSHOT_UNDER_WAY

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="snapshots")
    run = models.ForeignKey(
        PhaseRun, null=True, on_delete=models.SET_NULL, related_name="snapshots"
    )
    state = models.CharField(
        max_length=10, choices=SnapshotState.choices, default=SnapshotState.TAKING
    )
    plan_digest = models.CharField(max_length=12)
    phases: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    """The state of each phase: done, begun or untouched."""

    storage_name = models.CharField(max_length=300, blank=True)
    size = models.BigIntegerField(default=0)
    """Bytes; grows while it is being taken."""
    sha256 = models.CharField(max_length=64, blank=True)
    server_version = models.CharField(max_length=100, blank=True)
    dump_version = models.CharField(max_length=100, blank=True)
    system_identifier = models.CharField(max_length=20, blank=True)
    """Identifier of the server's cluster: distinguishes servers that look the same."""
    lsn = models.CharField(max_length=20, blank=True)
    exported_snapshot = models.CharField(max_length=100, blank=True)
    """PostgreSQL's snapshot that dump, counts and crosstabs all read."""
    counts: models.JSONField[dict[str, int], dict[str, int]] = models.JSONField(default=dict)
    """Tables to rows."""
    crosstabs: models.JSONField[Any, Any] = models.JSONField(default=list)
    prerequisites: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    """SQL of what its tables need and a dump of tables leaves out: types, trigger functions."""
    left_out: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    """What a restore leaves out: foreign keys to tables that are not in it."""
    contents: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    """Its table of contents, as pg_restore lists it."""

    restored_counts: models.JSONField[dict[str, int], dict[str, int]] = models.JSONField(
        default=dict
    )
    differences: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    """Where the restored copy differs, a sentence each."""

    taken_at = models.DateTimeField(null=True)
    """The moment of its data."""
    seconds = models.FloatField(null=True)
    """How long the dump took."""
    verify_seconds = models.FloatField(null=True)
    verified_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    """When its retention by the plan ends."""
    then_rehearse = models.BooleanField(default=False)
    """Whether a rehearsal from it was requested with it, and waits until it is verified."""
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["rollout"],
                condition=Q(state__in=SNAPSHOT_UNDER_WAY),
                name="rollout_one_snapshot_under_way",
            )
        ]
        indexes = [models.Index(fields=["rollout", "state", "-id"])]

    def __str__(self) -> str:
        return f"snapshot {self.pk} of {self.rollout}: {self.state}"

    @property
    def next_phase(self) -> int:
        """The first phase that its data has not been through; after the last, how many are."""
        return next((n for n, was in enumerate(self.phases) if was != "done"), len(self.phases))

    def get_absolute_url(self) -> str:
        return reverse("rollout:snapshot", args=[self.pk])
