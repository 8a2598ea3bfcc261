"""Databases made from snapshots, and restores of snapshots into environments."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q
from django.urls import reverse

from rollout.models.rollouts import Attempted, Rollout
from rollout.models.snapshots import Snapshot


class EnvironmentState(models.TextChoices):
    MAKING = "making", "Creating"
    READY = "ready", "Ready"
    GONE = "gone", "Deleted"


class Environment(models.Model):
    """A database made from a snapshot, on the server of the environment that the snapshot is of;
    that of a rehearsal may be on another one.

    It belongs to one plan: only that plan's tables are in it.
    """

    class Purpose(models.TextChoices):
        STAGING = "staging", "Staging"
        REHEARSAL = "rehearsal", "Rehearsal"

    name = models.CharField(max_length=40)
    plan = models.CharField(max_length=100)
    purpose = models.CharField(max_length=10, choices=Purpose.choices, default=Purpose.STAGING)
    beside = models.CharField(max_length=100)
    """The environment whose rows it holds, and on whose server it is unless ``server`` says."""
    server = models.CharField(max_length=300, blank=True, default="")
    """Host and port of another server that ``ROLLOUT["REHEARSE_ON"]`` named when it was made."""
    database = models.CharField(max_length=63)
    state = models.CharField(
        max_length=8, choices=EnvironmentState.choices, default=EnvironmentState.MAKING
    )
    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, related_name="+")
    actor_name = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)
    ready_at = models.DateTimeField(null=True)
    gone_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["name"],
                condition=~Q(state=EnvironmentState.GONE),
                name="rollout_environment_name_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.state})"

    def get_absolute_url(self) -> str:
        return reverse("rollout:rollout", args=[self.plan, self.name])


class RestoreState(models.TextChoices):
    WAITING = "waiting", "Pending approval"
    RUNNING = "running", "Restoring"
    CANCELLING = "cancelling", "Cancelling"
    DONE = "done", "Restored"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


RESTORE_WORKING = (RestoreState.RUNNING, RestoreState.CANCELLING)
RESTORE_UNDER_WAY = (RestoreState.WAITING, *RESTORE_WORKING)


class Restore(Attempted):
    """A snapshot put in place of a plan's tables in an environment, or into a new database.

    Into production only once another lead has approved it.
    """

    kind = task = "restore"
    under_way_states = RESTORE_UNDER_WAY

    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, related_name="restores")
    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="restores")
    """The rollout it is restored into."""
    environment = models.ForeignKey(
        Environment, null=True, on_delete=models.PROTECT, related_name="restores"
    )
    """The database made for it; null if the environment exists already."""
    state = models.CharField(
        max_length=10, choices=RestoreState.choices, default=RestoreState.RUNNING
    )
    transaction = models.BigIntegerField(null=True)
    """The number of the transaction that replaced the tables, as its server counts: written down
    before it was committed, so that the server can be asked whether it was."""
    reason = models.TextField(blank=True)
    approver_name = models.CharField(max_length=150, blank=True)
    approved_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["rollout"],
                condition=Q(state__in=RESTORE_UNDER_WAY),
                name="rollout_one_restore_under_way",
            )
        ]

    def __str__(self) -> str:
        return f"restore of snapshot {self.snapshot_id} into {self.rollout}: {self.state}"

    def get_absolute_url(self) -> str:
        """Its snapshot's page, which lists its restores."""
        return reverse("rollout:snapshot", args=[self.snapshot_id])

    def log_data(self) -> dict[str, Any]:
        return super().log_data() | {"snapshot": self.snapshot_id}
