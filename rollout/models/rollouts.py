"""Rollouts, their scheduled starts, and what all leased work has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.db import models
from django.urls import reverse


class Rollout(models.Model):
    """A plan in an environment. Its state follows from the newest run of each phase."""

    plan = models.CharField(max_length=100)
    environment = models.CharField(max_length=100)
    created_at = models.DateTimeField(auto_now_add=True)
    shadow_percent = models.FloatField(default=1.0)
    """The percentage of reads that are repeated by both schemas while both exist."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["plan", "environment"], name="rollout_once")]
        permissions = [
            ("audit_rollout", "Can start audits"),
            ("pause_rollout", "Can pause and resume phases"),
            ("start_rollout", "Can start, retry and cancel phases"),
            ("roll_back_rollout", "Can roll phases back"),
            ("review_mapping", "Can review mappings"),
            ("repair_rows", "Can repair mismatched rows"),
            ("waive_mismatch", "Can waive mismatches"),
            ("end_blocker", "Can cancel queries and terminate blocking sessions"),
            ("take_snapshot", "Can take and delete snapshots"),
            ("manage_notifications", "Can choose notifications"),
            ("rehearse_rollout", "Can make staging databases and rehearse plans"),
            ("restore_snapshot", "Can restore snapshots"),
            ("approve_rollout", "Can approve the start of phases"),
            ("override_gate", "Can override gates and confirm overrides"),
            ("tick_checklist", "Can mark checklist items done and run smoke tests"),
        ]

    def __str__(self) -> str:
        return f"{self.plan} in {self.environment}"

    def get_absolute_url(self) -> str:
        return reverse("rollout:rollout", args=[self.plan, self.environment])

    @property
    def scheduled(self) -> ScheduledStart | None:
        """The newest scheduled start; ``find_rollout`` selects it."""
        try:
            return self.schedule
        except ObjectDoesNotExist:
            return None

    @property
    def start_to_come(self) -> ScheduledStart | None:
        """The scheduled start whose time has not come."""
        start = self.scheduled
        return start if start is not None and start.state == ScheduleState.WAITING else None


class ScheduleState(models.TextChoices):
    WAITING = "waiting", "Waiting"
    STARTED = "started", "Started"
    NOT_STARTED = "not started", "Did not start"
    CANCELLED = "cancelled", "Cancelled"


class ScheduledStart(models.Model):
    """The scheduled start of a phase, or the outcome of the last one."""

    rollout = models.OneToOneField(Rollout, on_delete=models.CASCADE, related_name="schedule")
    phase = models.PositiveSmallIntegerField()
    at = models.DateTimeField()
    zone = models.CharField(max_length=60)
    """The time zone it was given in, and is shown in."""
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    actor_name = models.CharField(max_length=150)
    phase_digest = models.CharField(max_length=12)
    """The digest of the phase that was read: a changed phase is not started."""
    state = models.CharField(
        max_length=12, choices=ScheduleState.choices, default=ScheduleState.WAITING
    )
    outcome = models.TextField(blank=True)
    """Why it did not start."""
    ended_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"start of phase {self.phase} of {self.rollout} at {self.at:%Y-%m-%d %H:%M} UTC"

    def log_data(self) -> dict[str, Any]:
        return {"at": self.at.isoformat(), "zone": self.zone, "phase_digest": self.phase_digest}


class Leased(models.Model):
    """Work that one worker at a time holds.

    ``token`` fences: the holder of the newest one may write, a task with an older one is dropped.
    ``lease_until`` is moved on by the worker that holds the work; past it, it is up for grabs.
    """

    kind: ClassVar[str]
    """What logs call it, a word."""
    task: ClassVar[str]
    """The function of ``rollout.tasks`` that works on it."""
    state_field: ClassVar[str] = "state"

    if TYPE_CHECKING:
        rollout: models.ForeignKey[Rollout, Rollout]

    token = models.PositiveIntegerField(default=0)
    worker = models.CharField(max_length=200, blank=True)
    lease_until = models.DateTimeField(null=True)
    actor_name = models.CharField(max_length=150)

    class Meta:
        abstract = True

    @property
    def title(self) -> str:
        """Its name at the beginning of a sentence."""
        return f"{self.kind.capitalize()} {self.pk}"

    def log_data(self) -> dict[str, Any]:
        """What each entry of the activity log about it keeps."""
        return {self.kind: self.pk}

    def log_fields(self) -> dict[str, object]:
        """What lines of a log say about it: the names are those of ``rollout.logs``."""
        return {
            "plan": self.rollout.plan,
            "environment": self.rollout.environment,
            self.kind: self.pk,
        }


class Attempted(Leased):
    """Leased work that counts its attempts, and keeps its activity and error."""

    under_way_states: ClassVar[tuple[str, ...]]
    """In these states no other of its kind may begin."""

    attempts = models.PositiveSmallIntegerField(default=0)
    """How many workers started it."""
    activity = models.TextField(blank=True)
    """What a worker does with it now; empty if none does."""
    created_at = models.DateTimeField(auto_now_add=True)
    error = models.TextField(blank=True)
    advice = models.TextField(blank=True)

    class Meta:
        abstract = True

    @property
    def under_way(self) -> bool:
        return getattr(self, self.state_field) in self.under_way_states
