"""Signs of life, measurements of the application, and statistics of databases."""

from __future__ import annotations

from typing import Any

from django.db import models

from rollout.models.rollouts import Rollout


class Heartbeat(models.Model):
    """When a worker or a watchdog was last seen."""

    name = models.CharField(max_length=200, unique=True)
    """host:pid"""
    kind = models.CharField(max_length=10)
    """worker or watchdog."""
    seen_at = models.DateTimeField()

    class Meta:
        ordering = ["-seen_at"]

    def __str__(self) -> str:
        return f"{self.kind} {self.name} at {self.seen_at:%H:%M:%S}"


class WatchedTime(models.Model):
    """Time through which watchdogs led and the database's clock ran as theirs, which nobody sets.

    Moments are of the database's clock. The newest one grows; another begins where the clock
    jumped, or where no watchdog led for a while.
    """

    began_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    jumped = models.FloatField(default=0)
    """Seconds by which the clock jumped where it began, so far as that is worth telling: ahead, or
    back where it is below 0."""

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"watched from {self.began_at:%H:%M:%S} to {self.ended_at:%H:%M:%S}"


class Measurement(models.Model):
    """The calls of one operation in one process and interval."""

    at = models.DateTimeField()
    """When the interval began."""
    seconds = models.PositiveIntegerField()
    """The interval's length."""
    operation = models.CharField(max_length=100)
    plan = models.CharField(max_length=100, blank=True)
    """The plan whose modes it asked for; empty if it asked for none."""
    read_mode = models.CharField(max_length=10, blank=True)
    write_mode = models.CharField(max_length=10, blank=True)
    process = models.CharField(max_length=200, blank=True)
    """host:pid; empty if processes are added up."""
    calls = models.PositiveIntegerField()
    errors = models.PositiveIntegerField(default=0)
    queries = models.PositiveIntegerField(default=0)
    database_seconds = models.FloatField(default=0)
    durations: models.JSONField[dict[str, int], dict[str, int]] = models.JSONField(default=dict)
    """Buckets of ``rollout.telemetry.histograms`` to counts."""

    class Meta:
        ordering = ["at"]
        indexes = [models.Index(fields=["at", "operation"])]

    def __str__(self) -> str:
        return f"{self.operation} at {self.at:%Y-%m-%d %H:%M:%S}: {self.calls}"


class OperationTotal(models.Model):
    """All-time totals of one operation, as monotonic counters."""

    operation = models.CharField(max_length=100)
    plan = models.CharField(max_length=100, blank=True)
    read_mode = models.CharField(max_length=10, blank=True)
    write_mode = models.CharField(max_length=10, blank=True)
    calls = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0)
    queries = models.BigIntegerField(default=0)
    seconds = models.FloatField(default=0)
    database_seconds = models.FloatField(default=0)
    durations: models.JSONField[dict[str, int], dict[str, int]] = models.JSONField(default=dict)
    """Buckets of ``rollout.telemetry.histograms`` to counts."""

    class Meta:
        ordering = ["operation", "plan", "read_mode", "write_mode"]
        constraints = [
            models.UniqueConstraint(
                fields=["operation", "plan", "read_mode", "write_mode"], name="rollout_total_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.operation}: {self.calls} calls"


class DatabaseReading(models.Model):
    """What a rollout's database counted at a moment (``rollout.engine.statistics``).

    ``server`` and ``tables`` hold counters as they stood and gauges, so that any two readings can
    be compared. ``statements`` holds what was executed since the reading before that has any:
    [{"query", "calls", "ms", "rows"}], or null where pg_stat_statements cannot be read.
    """

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="database_readings")
    at = models.DateTimeField()
    seconds = models.PositiveIntegerField()
    """The time it stands for, before it."""
    server: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)
    tables: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)
    """By label, without tables that were locked."""
    statements: models.JSONField[list[dict[str, Any]] | None, list[dict[str, Any]] | None] = (
        models.JSONField(null=True)
    )

    class Meta:
        ordering = ["at"]
        indexes = [models.Index(fields=["rollout", "at"])]

    def __str__(self) -> str:
        return f"{self.rollout} at {self.at:%Y-%m-%d %H:%M:%S}"
