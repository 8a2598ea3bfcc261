"""The columns of the property tables that no phase of the rollout changes."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone

SEARCHED_COLUMNS = ("title", "description", "address")


class PropertyColumns(models.Model):
    """``area`` is in square feet."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    title = models.TextField()
    description = models.TextField(blank=True, default="")
    address = models.TextField(blank=True, default="")
    city = models.TextField(blank=True, default="")
    postal_code = models.TextField(blank=True, default="")
    price = models.DecimalField(max_digits=12, decimal_places=2, null=True, blank=True)
    bedrooms = models.SmallIntegerField(null=True, blank=True)
    bathrooms = models.DecimalField(max_digits=4, decimal_places=1, null=True, blank=True)
    area = models.DecimalField(max_digits=10, decimal_places=1, null=True, blank=True)
    latitude = models.FloatField(null=True, blank=True)
    longitude = models.FloatField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.title


class ImageColumns(models.Model):
    """Without the owner's key, whose model differs."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    url = models.TextField()
    position = models.IntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.url
