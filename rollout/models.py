"""The journal: what happened, by whom, with which counts. Only the runner changes a run's state."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q


class RunState(models.TextChoices):
    """The states of a phase run. ``ALLOWED`` in ``rollout.runner`` says which follow which."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    PAUSING = "pausing", "Pausing"
    PAUSED = "paused", "Paused"
    CANCELLING = "cancelling", "Cancelling"
    CANCELLED = "cancelled", "Cancelled"
    FAILED = "failed", "Failed"
    DONE = "done", "Done"


ACTIVE = (
    RunState.QUEUED,
    RunState.RUNNING,
    RunState.PAUSING,
    RunState.PAUSED,
    RunState.CANCELLING,
)
"""States of a run that nobody may start another beside."""
WORKING = (RunState.QUEUED, RunState.RUNNING, RunState.PAUSING, RunState.CANCELLING)
"""Active states in which a worker has something to do: the watchdog keeps an eye on these."""


class Way(models.TextChoices):
    FORWARD = "forward", "Forward"
    BACKWARD = "backward", "Rollback"


class Rollout(models.Model):
    """A plan in an environment. Where it stands follows from the newest run of each phase."""

    plan = models.CharField(max_length=100)
    environment = models.CharField(max_length=100)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["plan", "environment"], name="rollout_once")]
        permissions = [
            ("audit_rollout", "Can start audits"),
            ("pause_rollout", "Can pause and resume phases"),
            ("start_rollout", "Can start, retry and cancel phases"),
            ("roll_back_rollout", "Can roll phases back"),
        ]

    def __str__(self) -> str:
        return f"{self.plan} in {self.environment}"


class Leased(models.Model):
    """Work that one worker at a time holds.

    ``token`` fences: whoever holds the newest one may write, a task with an older one is dropped.
    ``lease_until`` is moved on by the worker that holds the work; past it, it is up for grabs.
    """

    token = models.PositiveIntegerField(default=0)
    worker = models.CharField(max_length=200, blank=True)
    lease_until = models.DateTimeField(null=True)

    class Meta:
        abstract = True


class PhaseRun(Leased):
    """One run of a phase, forward or as its rollback."""

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="runs")
    phase = models.PositiveSmallIntegerField()
    way = models.CharField(max_length=10, choices=Way.choices, default=Way.FORWARD)
    state = models.CharField(max_length=12, choices=RunState.choices, default=RunState.QUEUED)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    actor_name = models.CharField(max_length=150)
    plan_digest = models.CharField(max_length=12)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)
    advice = models.TextField(blank=True)
    """What to do next about the error."""

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["rollout"], condition=Q(state__in=ACTIVE), name="rollout_one_active_run"
            )
        ]
        indexes = [models.Index(fields=["rollout", "phase", "-id"])]

    def __str__(self) -> str:
        return f"{self.rollout}: phase {self.phase} {self.way} ({self.state})"

    @property
    def active(self) -> bool:
        return self.state in ACTIVE


class StepState(models.TextChoices):
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"


class StepRun(models.Model):
    """A step within a run; a step that has no row has not been reached."""

    run = models.ForeignKey(PhaseRun, on_delete=models.CASCADE, related_name="steps")
    step = models.CharField(max_length=100)
    position = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=8, choices=StepState.choices, default=StepState.RUNNING)
    attempts = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    actions_done = models.PositiveSmallIntegerField(default=0)
    """How many of the step's actions have come to their end."""
    waiting_for = models.TextField(blank=True)
    """What a running step waits for; empty while it gets on."""
    result = models.TextField(blank=True)
    """One sentence: what was found or counted."""
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["run", "step"], name="rollout_step_once_a_run")
        ]

    def __str__(self) -> str:
        return f"{self.step} ({self.state})"


class BackfillJob(models.Model):
    """A pass over a table. Its lanes and counters live in the target, beside the data.

    The counters here are the totals of a finished job, copied once; a running job's are read from
    the target (``rollout.engine.backfill.progress``).
    """

    step_run = models.ForeignKey(StepRun, on_delete=models.CASCADE, related_name="jobs")
    table = models.CharField(max_length=130)
    kind = models.CharField(max_length=10)
    """fill, clear, restore or compute."""
    position = models.PositiveSmallIntegerField()
    """Which of its step's actions it is."""
    blocks = models.BigIntegerField()
    estimated_rows = models.BigIntegerField()
    stripes = models.PositiveSmallIntegerField()
    explanation = models.TextField()
    """What the planner chose, and why."""
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)
    scanned = models.BigIntegerField(default=0)
    updated = models.BigIntegerField(default=0)
    already_right = models.BigIntegerField(default=0)
    quarantined = models.BigIntegerField(default=0)
    most_poison_rows = models.BigIntegerField(default=50)
    """How many rows the database may refuse before the job stops."""
    target_ms = models.PositiveIntegerField(default=75)
    """How long a batch should take; may be changed while the job runs, as the next two."""
    duty_percent = models.PositiveSmallIntegerField(default=100)
    """The share of time in which batches run."""
    workers = models.PositiveSmallIntegerField(default=1)
    """How many workers share the lanes."""
    rounds = models.PositiveSmallIntegerField(default=1)
    working_seconds = models.FloatField(default=0)
    """Time in batches, pauses left out."""

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["step_run", "position"], name="rollout_job_once_an_action"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.table}"


class BackfillEstimate(models.Model):
    """What a pass over a table will cost, tried out before its phase starts and rolled back.

    Without an end it waits for a worker. Of a pass that computes in Python only ``rows`` is known.
    """

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="estimates")
    phase = models.PositiveSmallIntegerField()
    step = models.CharField(max_length=100)
    position = models.PositiveSmallIntegerField()
    """Which of its step's actions the pass is."""
    table = models.CharField(max_length=130)
    rows = models.BigIntegerField(null=True)
    seconds = models.FloatField(null=True)
    wal_bytes = models.BigIntegerField(null=True)
    disk_bytes = models.BigIntegerField(null=True)
    """At most so much: what the rows take if none finds room where it was."""
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


class AuditStatus(models.TextChoices):
    RUNNING = "running", "Running"
    CLEAN = "clean", "Clean"
    MISMATCHED = "mismatched", "Mismatched"
    INCONCLUSIVE = "inconclusive", "Inconclusive"


class AuditReport(Leased):
    """A full audit: one scan of each table in one snapshot.

    ``categories`` maps a category to its rows; each row counts once, in its worst category, so
    that they add up to ``rows``. ``translations`` holds, for each translation, its own categories
    and its crosstab: [{"column", "legacy_column", "lookup_table", "categories": {name: rows},
    "cells": [{"legacy": text or null, "new": text or null, "category": name, "rows": count}]}].
    """

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="audits")
    run = models.ForeignKey(PhaseRun, null=True, on_delete=models.SET_NULL, related_name="audits")
    status = models.CharField(
        max_length=12, choices=AuditStatus.choices, default=AuditStatus.RUNNING
    )
    mode = models.CharField(max_length=10, default="full")
    rows = models.BigIntegerField(default=0)
    matched = models.BigIntegerField(default=0)
    mismatched = models.BigIntegerField(default=0)
    categories: models.JSONField[dict[str, int], dict[str, int]] = models.JSONField(default=dict)
    translations: models.JSONField[Any, Any] = models.JSONField(default=list)
    stored_mismatches = models.PositiveIntegerField(default=0)
    message = models.TextField(blank=True)
    """Why an audit is inconclusive."""
    plan_digest = models.CharField(max_length=12)
    actor_name = models.CharField(max_length=150)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"audit {self.pk} of {self.rollout}: {self.status}"


class Mismatch(models.Model):
    """A row that is not what it should be, in one of its translations."""

    report = models.ForeignKey(AuditReport, on_delete=models.CASCADE, related_name="found")
    table = models.CharField(max_length=130)
    key = models.TextField()
    """The primary key; the parts of a composite one are joined by a comma."""
    column = models.CharField(max_length=63)
    category = models.CharField(max_length=20)
    legacy = models.TextField(null=True)
    expected = models.TextField(null=True)
    actual = models.TextField(null=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.table} {self.key}: {self.category}"


class LogEntry(models.Model):
    """The audit log. Append-only by trigger; each entry's hash covers the one before it."""

    at = models.DateTimeField()
    actor = models.CharField(max_length=150)
    source = models.CharField(max_length=20)
    """web, shell, worker or watchdog."""
    plan = models.CharField(max_length=100, blank=True)
    environment = models.CharField(max_length=100, blank=True)
    phase = models.PositiveSmallIntegerField(null=True)
    event = models.CharField(max_length=40)
    message = models.TextField()
    data: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["plan", "environment", "-id"])]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.event}: {self.message}"


class Heartbeat(models.Model):
    """When each worker and watchdog was last seen at work."""

    name = models.CharField(max_length=200, unique=True)
    """host:pid"""
    kind = models.CharField(max_length=10)
    """worker or watchdog."""
    seen_at = models.DateTimeField()

    class Meta:
        ordering = ["-seen_at"]

    def __str__(self) -> str:
        return f"{self.kind} {self.name} at {self.seen_at:%H:%M:%S}"
