"""The activity log: who did what."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.urls import reverse


class LogEntry(models.Model):
    """An entry of the activity log: append-only by trigger, its hash covers the one before it."""

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
        indexes = [
            models.Index(fields=["plan", "environment", "-id"]),
            models.Index(fields=["plan", "environment", "at"]),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.event}: {self.message}"

    def get_absolute_url(self) -> str:
        """The page of its phase, of its rollout, or of the log."""
        if not self.plan:
            return reverse("rollout:log")
        if self.phase is None:
            return reverse("rollout:rollout", args=[self.plan, self.environment])
        return reverse("rollout:phase", args=[self.plan, self.environment, self.phase])
