"""Outcomes of the reads that were repeated by both schemas."""

from __future__ import annotations

from django.db import models

from rollout.models.rollouts import Rollout

OUTCOMES = ("same", "differed", "unfilled", "mapped", "transient", "unstable", "failed")
"""The outcomes of a shadow read: fields of a tally."""


class ShadowTally(models.Model):
    """The shadow reads of one operation in one interval, by outcome.

    same       both answers were the same
    differed   they differed, and kept differing: a mismatch was written down
    unfilled   they differed in rows that the backfill has not reached
    mapped     they differed as the mapping says: another spelling, a decided value
    transient  they differed, and a moment later did not
    unstable   the old path gave two answers in one snapshot: it cannot be compared
    failed     one of the paths raised an error or took too long
    """

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="shadow_tallies")
    at = models.DateTimeField()
    """When the interval began."""
    seconds = models.PositiveIntegerField()
    operation = models.CharField(max_length=100)
    compared = models.PositiveIntegerField(default=0)
    same = models.PositiveIntegerField(default=0)
    differed = models.PositiveIntegerField(default=0)
    unfilled = models.PositiveIntegerField(default=0)
    mapped = models.PositiveIntegerField(default=0)
    transient = models.PositiveIntegerField(default=0)
    unstable = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    skipped = models.PositiveIntegerField(default=0)
    """Chosen, but not compared for lack of time."""
    error = models.TextField(blank=True)
    """The newest error."""
    old_durations: models.JSONField[dict[str, int], dict[str, int]] = models.JSONField(default=dict)
    """Buckets of ``rollout.telemetry.histograms`` to counts, as the next."""
    new_durations: models.JSONField[dict[str, int], dict[str, int]] = models.JSONField(default=dict)

    class Meta:
        ordering = ["at"]
        verbose_name_plural = "shadow tallies"
        indexes = [models.Index(fields=["rollout", "at"])]

    def __str__(self) -> str:
        return f"shadow reads of {self.operation} at {self.at:%Y-%m-%d %H:%M:%S}: {self.compared}"
