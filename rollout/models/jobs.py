"""Backfill jobs, and estimates of them."""

from __future__ import annotations

from django.db import models
from django.urls import reverse

from rollout.engine.pace import TARGET_MS
from rollout.models.rollouts import Rollout
from rollout.models.runs import StepRun


class BackfillJob(models.Model):
    """A pass over a table. Its lanes and counters live in the target, beside the data.

    The counters here are the totals of a finished job, copied once; a running job's are read from
    the target (``rollout.engine.lane_totals.totals``).
    """

    step_run = models.ForeignKey(StepRun, on_delete=models.CASCADE, related_name="jobs")
    table = models.CharField(max_length=130)
    kind = models.CharField(max_length=10)
    """fill, clear, restore, compute, repair or proof."""
    position = models.PositiveSmallIntegerField()
    """The position of its action in the step."""
    blocks = models.BigIntegerField()
    estimated_rows = models.BigIntegerField()
    stripes = models.PositiveSmallIntegerField()
    explanation = models.TextField()
    """The planner's choices, with their reasons."""
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)
    scanned = models.BigIntegerField(default=0)
    updated = models.BigIntegerField(default=0)
    already_right = models.BigIntegerField(default=0)
    quarantined = models.BigIntegerField(default=0)
    rewritten = models.BigIntegerField(default=0)
    """Rows that the application wrote meanwhile and that it had to write too; none is scanned."""
    most_poison_rows = models.BigIntegerField(default=50)
    """The most rows in quarantine before the job stops."""
    target_ms = models.PositiveIntegerField(default=TARGET_MS)
    """Target time of a batch; it and the next four may be changed while the job runs."""
    duty_percent = models.PositiveSmallIntegerField(default=100)
    """The share of time in which batches run."""
    rows_per_second = models.PositiveIntegerField(null=True)
    """The most rows that all workers read in a second; None for as many as they can."""
    commit_limit_ms = models.PositiveIntegerField(null=True)
    """Above it a commit is too slow and the job throttled; None leaves it to the baseline."""
    workers = models.PositiveSmallIntegerField(default=1)
    """The most workers that share the lanes."""
    paced_at = models.DateTimeField(null=True)
    """When somebody changed these five last: the speed before that says nothing of the rest."""
    rounds = models.PositiveSmallIntegerField(default=1)
    working_seconds = models.FloatField(default=0)
    """Time in batches, without rests."""

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["step_run", "position"], name="rollout_job_once_an_action"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.table}"

    def get_absolute_url(self) -> str:
        return reverse("rollout:job", args=[self.pk])

    @property
    def written(self) -> int:
        return self.updated + self.rewritten


class BackfillEstimate(models.Model):
    """The cost of a pass over a table, measured on a sample before its phase starts.

    Without an end it waits for a worker. Of a pass that computes in Python only ``rows`` is known.
    """

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="estimates")
    phase = models.PositiveSmallIntegerField()
    step = models.CharField(max_length=100)
    position = models.PositiveSmallIntegerField()
    """The position of its action in the step."""
    table = models.CharField(max_length=130)
    rows = models.BigIntegerField(null=True)
    seconds = models.FloatField(null=True)
    wal_bytes = models.BigIntegerField(null=True)
    disk_bytes = models.BigIntegerField(null=True)
    """Upper bound: what the rows take if none finds room on its page."""
    sampled_rows = models.BigIntegerField(default=0)
    actor_name = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["rollout", "phase", "step", "position", "-id"])]

    def __str__(self) -> str:
        return f"estimate of {self.table} in step {self.step}"
