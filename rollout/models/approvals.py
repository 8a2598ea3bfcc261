"""Approvals, overrides, ticks and smoke tests."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from rollout.models.rollouts import Rollout
from rollout.models.runs import PhaseRun


class SignOffKind(models.TextChoices):
    REQUEST = "request", "Approval request"
    APPROVAL = "approval", "Approval"
    REJECTION = "rejection", "Rejection"
    OVERRIDE = "override", "Override"
    TICK = "tick", "Checklist item"


class SignOff(models.Model):
    """A person's request, approval, rejection, override or tick, bound to the plan's digest.

    An approval or override is for one start: that start writes its run here.
    """

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="sign_offs")
    phase = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=10, choices=SignOffKind.choices)
    subject = models.CharField(max_length=100, blank=True)
    """The gate that is overridden, or the item that is ticked."""
    reason = models.TextField(blank=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    actor_name = models.CharField(max_length=150)
    at = models.DateTimeField()
    plan_digest = models.CharField(max_length=12, blank=True)
    phase_digest = models.CharField(max_length=12, blank=True)
    """Digest of the phase's statements, forward and back, and its gates."""
    expires_at = models.DateTimeField(null=True)
    confirmed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    confirmed_by_name = models.CharField(max_length=150, blank=True)
    """The second lead of an override before a destructive or restrictive phase."""
    confirmed_at = models.DateTimeField(null=True)
    withdrawn_by_name = models.CharField(max_length=150, blank=True)
    withdrawn_at = models.DateTimeField(null=True)
    run = models.ForeignKey(PhaseRun, null=True, on_delete=models.SET_NULL, related_name="+")
    addressees: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    """The names of those whom a request is addressed to; empty for all who may approve."""
    reminders = models.PositiveSmallIntegerField(default=0)
    """How often the watchdog has repeated a request."""
    reminded_at = models.DateTimeField(null=True)
    """When the watchdog or a person last did."""

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["rollout", "subject"],
                condition=Q(kind="tick", withdrawn_at=None),
                name="rollout_ticked_once",
            )
        ]
        indexes = [models.Index(fields=["rollout", "-id"])]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of phase {self.phase} by {self.actor_name}"

    def log_data(self) -> dict[str, Any]:
        return {
            "sign_off": self.pk,
            "plan_digest": self.plan_digest,
            "phase_digest": self.phase_digest,
        }


class FlowProbe(models.Model):
    """The smoke test of a flow, in a transaction that was rolled back."""

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="probes")
    flow = models.CharField(max_length=200)
    at = models.DateTimeField()
    passed = models.BooleanField()
    message = models.TextField()
    """Its evidence, or what went wrong."""
    warning = models.TextField(default="")
    """The large tables that it read without an index."""

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["rollout", "flow", "-id"])]

    def __str__(self) -> str:
        return f"{self.flow}: {'passed' if self.passed else 'failed'}"
