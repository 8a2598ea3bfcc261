"""The state of a rollout's guardrails."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import models

from rollout.models.rollouts import Rollout
from rollout.models.runs import PhaseRun

# They are evaluated every few seconds: an older verdict says nothing about now.
VERDICT_LASTS = timedelta(minutes=1)


class RuleVerdict(models.TextChoices):
    KEPT = "kept", "OK"
    BROKEN = "broken", "Breached"
    INCONCLUSIVE = "inconclusive", "Inconclusive"
    ERROR = "error", "Not evaluated"


class RuleState(models.Model):
    """What a rule of the plan says at present, on which numbers, and what it is doing about it.

    ``windows`` is [{"at", "value", "calls", "verdict"}], the oldest first; latencies in
    milliseconds, error rates as shares.
    """

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="rules")
    rule = models.CharField(max_length=100)
    action = models.CharField(max_length=10)
    verdict = models.CharField(
        max_length=12, choices=RuleVerdict.choices, default=RuleVerdict.INCONCLUSIVE
    )
    since = models.DateTimeField()
    """When the verdict last changed."""
    judged_at = models.DateTimeField()
    value = models.FloatField(null=True)
    baseline = models.FloatField(null=True)
    """The same statistic in the baseline."""
    bound = models.FloatField(null=True)
    calls = models.PositiveIntegerField(default=0)
    windows: models.JSONField[list[dict[str, Any]], list[dict[str, Any]]] = models.JSONField(
        default=list
    )
    message = models.TextField(blank=True)
    """One sentence with the numbers."""
    acting = models.BooleanField(default=False)
    """Whether its action is in force."""
    run = models.ForeignKey(PhaseRun, null=True, on_delete=models.SET_NULL, related_name="+")
    """The run it paused."""
    counts_from = models.DateTimeField(null=True)
    """Earlier windows do not count: somebody resumed the run."""
    last_broken_at = models.DateTimeField(null=True)
    errors = models.PositiveIntegerField(default=0)
    """Evaluations in a row that failed."""

    class Meta:
        ordering = ["rule"]
        constraints = [
            models.UniqueConstraint(fields=["rollout", "rule"], name="rollout_rule_once")
        ]

    def __str__(self) -> str:
        return f"rule {self.rule} of {self.rollout}: {self.verdict}"

    def is_current(self, now: datetime) -> bool:
        """Whether the verdict is one of now."""
        return now - self.judged_at < VERDICT_LASTS
