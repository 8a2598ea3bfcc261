"""Rehearsals: plans run forward and back in a database of their own."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q
from django.urls import reverse

from rollout.models.environments import Environment
from rollout.models.rollouts import Attempted, Rollout
from rollout.models.runs import PhaseRun, StepRun
from rollout.models.snapshots import Snapshot


class RehearsalState(models.TextChoices):
    MAKING = "making", "Creating its database"
    RUNNING = "running", "Rehearsing"
    COMPARING = "comparing", "Comparing"
    CANCELLING = "cancelling", "Cancelling"
    PASSED = "passed", "Passed"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


REHEARSAL_UNDER_WAY = (
    RehearsalState.MAKING,
    RehearsalState.RUNNING,
    RehearsalState.COMPARING,
    RehearsalState.CANCELLING,
)


class Rehearsal(Attempted):
    """A plan run in a database made from a snapshot, from there to the last phase and back, under
    generated traffic."""

    kind = "rehearsal"
    task = "rehearse"
    under_way_states = REHEARSAL_UNDER_WAY

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="rehearsals")
    """The rollout that is rehearsed."""
    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, related_name="+")
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="+")
    sandbox = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="+")
    """The rollout in that database, whose runs are the rehearsal's."""
    state = models.CharField(
        max_length=10, choices=RehearsalState.choices, default=RehearsalState.MAKING
    )
    plan_digest = models.CharField(max_length=12)
    keep_database = models.BooleanField(default=False)
    """Whether its database is kept after it passed."""
    first_phase = models.PositiveSmallIntegerField()
    rows = models.BigIntegerField(default=0)
    """Number of rows of the plan's tables in the snapshot."""
    before: models.JSONField[Any, Any] = models.JSONField(default=dict)
    """The catalog before the first phase: object to its parts."""
    catalog_differences: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    data_differences: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    compared_at = models.DateTimeField(null=True)
    untouched_rows = models.BigIntegerField(default=0)
    """Rows that the traffic did not write: compared with their values before."""
    written_rows = models.BigIntegerField(default=0)
    """Rows that the traffic wrote: compared with what it wrote last."""
    baseline_traffic: models.JSONField[Any, Any] = models.JSONField(default=dict)
    """The traffic before the first phase, as in ``Observation``."""
    longest_lock_ms = models.FloatField(null=True)
    """The longest time a lock that blocks the application was seen held."""
    longest_wait_ms = models.FloatField(null=True)
    """The slowest operation of the traffic."""
    lock_poll_ms = models.FloatField(null=True)
    """The polling interval for locks, in milliseconds."""
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["rollout"],
                condition=Q(state__in=REHEARSAL_UNDER_WAY),
                name="rollout_one_rehearsal_under_way",
            )
        ]

    def __str__(self) -> str:
        return f"rehearsal {self.pk} of {self.rollout}: {self.state}"

    def get_absolute_url(self) -> str:
        return reverse("rollout:rehearsal", args=[self.pk])

    def log_data(self) -> dict[str, Any]:
        return super().log_data() | {"snapshot": self.snapshot_id}

    @property
    def came_back(self) -> bool | None:
        """Whether the rollback left no differences; None until they are compared."""
        if self.compared_at is None:
            return None
        return not self.differences

    @property
    def differences(self) -> list[str]:
        return self.catalog_differences + self.data_differences

    @property
    def rows_compared(self) -> int:
        return self.untouched_rows + self.written_rows


class Observation(models.Model):
    """What was observed while a run, or one step of it, was rehearsed.

    ``locks`` are [{"table", "mode", "held_ms": the longest, "times", "waited_ms"}].
    """

    run = models.ForeignKey(PhaseRun, on_delete=models.CASCADE, related_name="observations")
    step_run = models.OneToOneField(
        StepRun, null=True, on_delete=models.CASCADE, related_name="observation"
    )
    locks: models.JSONField[list[Any], list[Any]] = models.JSONField(default=list)
    operations = models.PositiveIntegerField(default=0)
    """The operations of the traffic during that time."""
    errors = models.PositiveIntegerField(default=0)
    last_error = models.TextField(blank=True)
    longest_ms = models.FloatField(null=True)
    durations: models.JSONField[dict[str, int], dict[str, int]] = models.JSONField(default=dict)
    """Buckets of ``rollout.telemetry.histograms`` to counts."""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["run"], condition=Q(step_run=None), name="rollout_run_observed_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.step_run or self.run}: {self.operations} operations"
