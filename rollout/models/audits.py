"""Audit reports, their mismatches, and the findings they belong to."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.urls import reverse

from rollout.models.rollouts import Leased, Rollout
from rollout.models.runs import PhaseRun


class AuditStatus(models.TextChoices):
    RUNNING = "running", "Running"
    CLEAN = "clean", "Clean"
    MISMATCHED = "mismatched", "Mismatched"
    INCONCLUSIVE = "inconclusive", "Inconclusive"


class AuditMode(models.TextChoices):
    FULL = "full", "Full"
    SAMPLED = "sampled", "Sampled"
    SHADOW = "shadow", "Shadow reads"


class AuditReport(Leased):
    """A full audit of every row, or of a random sample of rows; each table in one snapshot. Or what
    shadow reads found within an hour: there ``rows`` are those that were looked at.

    ``categories`` maps a category to its rows; each row counts once, in its worst category, so
    that they add up to ``rows``. ``translations`` holds, for each translation, its own categories
    and its crosstab: [{"table", "column", "legacy_column", "lookup_table",
    "categories": {name: rows}, "cells": [{"legacy": text or null, "new": text or null,
    "category": name, "rows": count}]}].
    """

    kind = task = "audit"
    state_field = "status"

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="audits")
    run = models.ForeignKey(PhaseRun, null=True, on_delete=models.SET_NULL, related_name="audits")
    status = models.CharField(
        max_length=12, choices=AuditStatus.choices, default=AuditStatus.RUNNING
    )
    mode = models.CharField(max_length=10, choices=AuditMode.choices, default=AuditMode.FULL)
    scheduled = models.BooleanField(default=False)
    """Whether the plan's schedule started it, not a person or a phase."""
    tables: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    """Labels of the tables it reads; empty for all."""
    rows = models.BigIntegerField(default=0)
    """Rows compared."""
    matched = models.BigIntegerField(default=0)
    mismatched = models.BigIntegerField(default=0)
    """Mismatching rows, including waived ones."""
    waived = models.BigIntegerField(default=0)
    transient = models.BigIntegerField(default=0)
    """Rows that differed in the consistent read and were right when read again: they matched."""
    categories: models.JSONField[dict[str, int], dict[str, int]] = models.JSONField(default=dict)
    translations: models.JSONField[Any, Any] = models.JSONField(default=list)
    conflicting_writes: models.JSONField[Any, Any] = models.JSONField(default=list)
    """Writes since the dual write began that contradicted themselves, with an example for each
    column and application: [{"table", "column", "application", "writes", "key", "legacy", "new",
    "at"}]."""
    stored_mismatches = models.PositiveIntegerField(default=0)
    message = models.TextField(blank=True)
    """Why an audit is inconclusive."""

    seed = models.BigIntegerField(null=True)
    """The seed of a sample: the same seed picks the same rows again."""
    population = models.BigIntegerField(null=True)
    """The number of all rows, for a sample."""
    confidence = models.FloatField(null=True)
    upper_rate = models.FloatField(null=True)
    """The upper bound of the share of all rows that mismatch, for a sample."""

    blocks = models.BigIntegerField(default=0)
    blocks_done = models.BigIntegerField(default=0)
    waiting_for = models.TextField(blank=True)

    plan_digest = models.CharField(max_length=12)
    mapping_digest = models.CharField(max_length=12, blank=True)
    mapping_values = models.PositiveIntegerField(null=True)
    """The number of values, by normal form, in the mappings it compared with."""
    mapping_reviewed = models.PositiveIntegerField(null=True)
    """How many of them people had reviewed."""
    mapping_at = models.DateTimeField(null=True)
    """When they were last reviewed."""
    """The digest of every mapping and lookup row it compared with."""
    sql_digest = models.CharField(max_length=12, blank=True)
    snapshot = models.CharField(max_length=200, blank=True)
    """PostgreSQL's snapshot, and the WAL position beside it."""
    code_version = models.CharField(max_length=40, blank=True)
    authority = models.CharField(max_length=10, default="legacy")
    """The side that was right: legacy, new, or archive where the legacy text is gone."""
    database = models.CharField(max_length=100, blank=True)
    """The database alias that was read."""
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["rollout", "mode", "-id"])]

    def __str__(self) -> str:
        return f"audit {self.pk} of {self.rollout}: {self.status}"

    def get_absolute_url(self) -> str:
        return reverse("rollout:audit", args=[self.pk])

    @property
    def phase(self) -> int | None:
        """The phase whose step it is."""
        return self.run.phase if self.run else None

    @property
    def conflicts(self) -> int:
        """How many writes contradicted themselves."""
        return sum(row["writes"] for row in self.conflicting_writes)

    def log_data(self) -> dict[str, Any]:
        return {"report": self.pk}


class FindingState(models.TextChoices):
    OPEN = "open", "Open"
    REPAIRED = "repaired", "Repaired"


class Finding(models.Model):
    """A row's mismatch in one column, across reports."""

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="findings")
    table = models.CharField(max_length=130)
    key = models.TextField()
    column = models.CharField(max_length=63)
    category = models.CharField(max_length=20)
    state = models.CharField(max_length=10, choices=FindingState.choices, default=FindingState.OPEN)
    first_report = models.ForeignKey(
        AuditReport, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    last_report = models.ForeignKey(
        AuditReport, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    """The newest report that found it."""
    repaired_report = models.ForeignKey(
        AuditReport, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    """The newest report that found the row repaired."""
    regressions = models.PositiveIntegerField(default=0)
    """How often it came back after a repair: a sign of a wrong write path."""
    waived_by = models.CharField(max_length=150, blank=True)
    waived_reason = models.TextField(blank=True)
    waived_at = models.DateTimeField(null=True)
    waived_until = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["rollout", "table", "key", "column"], name="rollout_finding_once"
            )
        ]
        indexes = [models.Index(fields=["rollout", "state", "-id"])]

    def __str__(self) -> str:
        return f"{self.table} {self.key} {self.column}: {self.state}"

    def get_absolute_url(self) -> str:
        return reverse("rollout:finding", args=[self.pk])

    def log_data(self) -> dict[str, Any]:
        return {"finding": self.pk}


class MismatchState(models.TextChoices):
    NEW = "new", "New"
    PERSISTING = "persisting", "Persisting"
    REGRESSED = "regressed", "Regressed"
    WAIVED = "waived", "Waived"


class Mismatch(models.Model):
    """A row that mismatches in one of its translations, as a report found it."""

    report = models.ForeignKey(AuditReport, on_delete=models.CASCADE, related_name="found")
    finding = models.ForeignKey(
        Finding, null=True, on_delete=models.SET_NULL, related_name="mismatches"
    )
    state = models.CharField(
        max_length=10, choices=MismatchState.choices, default=MismatchState.NEW
    )
    """Its state against earlier reports."""
    table = models.CharField(max_length=130)
    key = models.TextField()
    """The primary key; the parts of a composite one are joined by a comma."""
    key_parts: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    """The texts of the key's columns."""
    column = models.CharField(max_length=63)
    category = models.CharField(max_length=20)
    operation = models.CharField(max_length=100, blank=True)
    """The application's operation whose shadow read met it; empty of audits."""
    legacy = models.TextField(null=True)
    expected = models.TextField(null=True)
    actual = models.TextField(null=True)

    class Meta:
        verbose_name_plural = "mismatches"
        ordering = ["id"]
        indexes = [models.Index(fields=["report", "column", "category", "id"])]

    def __str__(self) -> str:
        return f"{self.table} {self.key}: {self.category}"
