"""Runs of phases and of their steps. ``rollout.journal.transitions`` changes a run's state."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse

from rollout.models.rollouts import Leased, Rollout, ScheduledStart


class RunState(models.TextChoices):
    """The states of a phase run. ``rollout.journal.transitions`` says which follow which."""

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
"""While a run is in one of these states, no other run may start."""
WORKING = (RunState.QUEUED, RunState.RUNNING, RunState.PAUSING, RunState.CANCELLING)
"""Active states in which a worker has work to do: the watchdog recovers these."""


class Direction(models.TextChoices):
    """The purpose of a run. Repairs do not change a phase's state."""

    FORWARD = "forward", "Forward"
    BACKWARD = "backward", "Rollback"
    REPAIR = "repair", "Repair"


class ChainState(models.TextChoices):
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    STOPPED = "stopped", "Stopped"
    CANCELLED = "cancelled", "Cancelled"


class RollbackChain(models.Model):
    """The rollbacks of several phases as one request: each starts when the one before is done."""

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="+")
    first_phase = models.PositiveSmallIntegerField()
    """The newest phase, which is rolled back first."""
    to_phase = models.SmallIntegerField()
    """The phase that stays; -1 where none does."""
    state = models.CharField(max_length=9, choices=ChainState.choices, default=ChainState.RUNNING)
    stop_reason = models.TextField(blank=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    actor_name = models.CharField(max_length=150)
    plan_digest = models.CharField(max_length=12)
    """Digest of the plan that its actor confirmed."""
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["rollout"],
                condition=Q(state=ChainState.RUNNING),
                name="rollout_one_running_chain",
            )
        ]

    def __str__(self) -> str:
        return f"{self.rollout}: {self.name} ({self.state})"

    @property
    def name(self) -> str:
        """Its name within a sentence."""
        if self.to_phase < 0:
            return "rollback of all phases"
        return f"rollback to phase {self.to_phase}"

    @property
    def title(self) -> str:
        return self.name[0].upper() + self.name[1:]

    def log_data(self) -> dict[str, Any]:
        return {"rollback_chain": self.pk}


class PhaseRun(Leased):
    """One run of a phase, forward or as its rollback."""

    kind = "run"
    task = "advance"

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="runs")
    phase = models.PositiveSmallIntegerField()
    direction = models.CharField(
        max_length=10, choices=Direction.choices, default=Direction.FORWARD
    )
    state = models.CharField(max_length=12, choices=RunState.choices, default=RunState.QUEUED)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    chain = models.ForeignKey(
        RollbackChain, null=True, on_delete=models.SET_NULL, related_name="runs"
    )
    """What a rollback is part of."""
    plan_digest = models.CharField(max_length=12)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)
    advice = models.TextField(blank=True)
    """What to do next about the error."""
    baseline: models.JSONField[dict[str, Any] | None, dict[str, Any] | None] = models.JSONField(
        null=True
    )
    """The application in the hour before (``rollout.telemetry.baselines``): later it is thinned."""
    statement_calls: models.JSONField[dict[str, int] | None, dict[str, int] | None] = (
        models.JSONField(null=True)
    )
    """The calls, at its end, of each statement that reads a legacy column, by the id that
    pg_stat_statements gives it: the gate of the next phase sees by them which ran since."""
    pause: models.JSONField[dict[str, str] | None, dict[str, str] | None] = models.JSONField(
        null=True
    )
    """Who asked it to pause last: {"by": name, "rule": id or empty, "at": ISO text, "message": what
    the rule said then}."""
    halts: models.JSONField[list[list[str | None]], list[list[str | None]]] = models.JSONField(
        default=list
    )
    """When it was paused or stopped: [[from, until]], ISO texts; the last one has no end until a
    worker resumes it."""
    overtakes: ScheduledStart | None = None
    """The scheduled start that its beginning cancelled: for who began it, not kept."""

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["rollout"], condition=Q(state__in=ACTIVE), name="rollout_one_active_run"
            )
        ]
        indexes = [models.Index(fields=["rollout", "phase", "-id"])]

    def __str__(self) -> str:
        return f"{self.rollout}: phase {self.phase} {self.direction} ({self.state})"

    def get_absolute_url(self) -> str:
        """Its phase's page."""
        place = [self.rollout.plan, self.rollout.environment, self.phase]
        return reverse("rollout:phase", args=place)

    @property
    def name(self) -> str:
        """Its name within a sentence."""
        if self.direction == Direction.REPAIR:
            return f"repair of {self.repair.rows}"
        return f"{'rollback of ' if self.direction == Direction.BACKWARD else ''}phase {self.phase}"

    @property
    def title(self) -> str:
        return self.name[0].upper() + self.name[1:]

    def log_fields(self) -> dict[str, object]:
        return super().log_fields() | {"phase": self.phase, "direction": self.direction}

    @property
    def active(self) -> bool:
        return self.state in ACTIVE

    @property
    def working(self) -> bool:
        """Whether a worker has something to do with it."""
        return self.state in WORKING

    @property
    def stopped_at(self) -> datetime | None:
        """When it ended or paused; None while it works."""
        if self.finished_at is not None or not self.halts:
            return self.finished_at
        began, ended = self.halts[-1]
        return datetime.fromisoformat(began) if began and not ended else None

    @property
    def has_stood_still(self) -> bool:
        """Whether it was paused or stopped short, and went on."""
        return any(until for _, until in self.halts)

    def time_at_work(self, since: datetime, until: datetime) -> timedelta:
        """How much of a span of time it worked, without pauses."""
        halted = timedelta()
        for began, ended in self.halts:
            first = max(datetime.fromisoformat(began), since) if began else since
            last = min(datetime.fromisoformat(ended), until) if ended else until
            halted += max(last - first, timedelta())
        return until - since - halted


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
    """How many of the step's actions are done."""
    waiting_for = models.TextField(blank=True)
    """What a running step waits for; empty while it makes progress."""
    activity = models.JSONField(null=True)
    """The activity of its present statement: ``StatementActivity.as_data``."""
    result = models.TextField(blank=True)
    """What was found or counted, in one sentence."""
    error = models.TextField(blank=True)
    checksum = models.CharField(max_length=64, blank=True, default="")
    """Checksum of the SQL files that were applied, if the step consists of files."""
    began_with: models.JSONField[Any, Any] = models.JSONField(default=dict)
    """The server before the step, by ``engine.statistics.measure``; empty where it cannot tell."""
    wal_bytes = models.BigIntegerField(null=True)
    """Bytes of WAL that the whole server wrote during the step."""
    growth: models.JSONField[dict[str, int], dict[str, int]] = models.JSONField(default=dict)
    """Table to the bytes it grew by, with its indexes."""

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["run", "step"], name="rollout_step_once_a_run")
        ]

    def __str__(self) -> str:
        return f"{self.step} ({self.state})"
