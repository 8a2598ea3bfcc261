"""Subscriptions to events, and deliveries to their receivers."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from rollout.models.activity_log import LogEntry
from rollout.models.rollouts import Rollout


class Subscription(models.Model):
    """The kinds of events that a user gets by e-mail, or a webhook.

    Those of several rows for the same receiver add up.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+"
    )
    webhook = models.CharField(max_length=100, blank=True)
    """Its name in the settings; empty for a user."""
    rollout = models.ForeignKey(
        Rollout, null=True, on_delete=models.CASCADE, related_name="subscriptions"
    )
    """Null for every rollout."""
    kinds: models.JSONField[list[str], list[str]] = models.JSONField(default=list)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(user=None) ^ Q(webhook=""), name="rollout_subscription_of_one"
            )
        ]

    def __str__(self) -> str:
        return f"{self.webhook or self.user}: {', '.join(self.kinds)}"


class Channel(models.TextChoices):
    WEBHOOK = "webhook", "Webhook"
    EMAIL = "email", "E-mail"


class DeliveryState(models.TextChoices):
    WAITING = "waiting", "Waiting"
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Failed"


class Delivery(models.Model):
    """An entry of the log on its way to one receiver."""

    # Nobody can remove an entry, so that the log needs no constraint that hangs on it.
    entry = models.ForeignKey(
        LogEntry, on_delete=models.DO_NOTHING, db_constraint=False, related_name="deliveries"
    )
    channel = models.CharField(max_length=10, choices=Channel.choices)
    recipient = models.CharField(max_length=150)
    """A webhook's name, or a user's."""
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    kind = models.CharField(max_length=20)
    state = models.CharField(
        max_length=10, choices=DeliveryState.choices, default=DeliveryState.WAITING
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    status = models.PositiveSmallIntegerField(null=True)
    """The last HTTP status of a webhook."""
    error = models.TextField(blank=True)
    """Why the last attempt failed."""
    created_at = models.DateTimeField(auto_now_add=True)
    due_at = models.DateTimeField()
    """When the next attempt is due."""
    finished_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "deliveries"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["entry", "channel", "recipient"], name="rollout_delivery_once"
            )
        ]
        indexes = [
            models.Index(
                fields=["channel", "recipient", "id"],
                condition=Q(state=DeliveryState.WAITING),
                name="rollout_delivery_waiting",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} to {self.recipient}: {self.state}"


class Outbox(models.Model):
    """One row: up to which entry of the log receivers were looked for, and whether a worker was
    asked to deliver."""

    last_entry = models.BigIntegerField(default=0)
    asked_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "outboxes"

    def __str__(self) -> str:
        return f"up to entry {self.last_entry}"
