"""The activity log: who did what."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.fields.json import KeyTransform
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
        verbose_name_plural = "log entries"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["plan", "environment", "-id"]),
            models.Index(fields=["plan", "environment", "at"]),
            # Charts look for few kinds of events among a log's many.
            models.Index(fields=["plan", "environment", "event", "at"]),
            # A page of the log reads the entries of the runs that it shows.
            models.Index(KeyTransform("run", "data"), name="rollout_logentry_of_run"),
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


class LogCheck(models.Model):
    """One row: how far the watchdog has verified the log's chain, and what came of it.

    A pass reads the log from its first entry, some entries at a time, and then each new one.
    """

    begun_at = models.DateTimeField(null=True)
    """When the present pass began."""
    last_entry = models.BigIntegerField(default=0)
    """The entry up to which the present pass came, and its hash in ``head``."""
    entries = models.BigIntegerField(default=0)
    """How many entries the present pass verified."""
    head = models.CharField(max_length=64, blank=True)
    wanted_at = models.DateTimeField(null=True)
    """When somebody requested a pass from the first entry; null once it began."""
    verified_at = models.DateTimeField(null=True)
    """When a pass last came to the end of the log, or to an entry that breaks the chain."""
    verified_entries = models.BigIntegerField(default=0)
    """How many entries that pass had verified."""
    broken_entry = models.BigIntegerField(null=True)
    reason = models.TextField(blank=True)
    """Why that entry breaks the chain."""

    def __str__(self) -> str:
        return f"{self.verified_entries:,} entries verified"
