"""The tables before the rollout. Migrations make this shape; the rollout makes the other."""

from __future__ import annotations

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models.functions import Upper

from properties.columns import SEARCHED_COLUMNS, ImageColumns, PropertyColumns


class LegacyProperty(PropertyColumns):
    """Type and status as free text, as people typed them; null and blank both occur."""

    type = models.TextField(null=True, blank=True)
    status = models.TextField(null=True, blank=True)

    class Meta:
        db_table = "properties"
        verbose_name_plural = "legacy properties"
        indexes = [
            models.Index(fields=["city"], name="properties_city_idx"),
            models.Index(fields=["created_at"], name="properties_created_idx"),
            models.Index(fields=["price"], name="properties_price_idx"),
            models.Index(fields=["type", "status"], name="properties_type_status_idx"),
            models.Index(fields=["status"], name="properties_status_idx"),
            # Of what a search for words looks at: no page reads the whole table.
            *(
                GinIndex(
                    OpClass(Upper(column), name="gin_trgm_ops"), name=f"properties_{column}_trgm"
                )
                for column in SEARCHED_COLUMNS
            ),
        ]


class LegacyPropertyImage(ImageColumns):
    property = models.ForeignKey(LegacyProperty, on_delete=models.CASCADE, related_name="+")

    class Meta:
        db_table = "property_images"
