"""The property tables in each shape they pass through.

Three mixins hold the columns: those that never change, the legacy ones, the new ones. Each shape
of a table is one concrete class over the same ``db_table``. Only the legacy shape is managed: its
migration makes the starting schema, and the rollout, not a migration, makes the others.
"""

from __future__ import annotations

import uuid

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models.functions import Upper
from django.utils import timezone

SEARCHED_COLUMNS = ("title", "description", "address")


class PropertyType(models.Model):
    id = models.AutoField(primary_key=True)
    name = models.TextField(unique=True)

    class Meta:
        managed = False
        db_table = "property_types"

    def __str__(self) -> str:
        return self.name


class PropertyStatus(models.Model):
    id = models.AutoField(primary_key=True)
    name = models.TextField(unique=True)

    class Meta:
        managed = False
        db_table = "property_statuses"
        verbose_name_plural = "property statuses"

    def __str__(self) -> str:
        return self.name


class PropertyColumns(models.Model):
    """The columns of ``properties`` that no phase changes. ``area`` is in square feet."""

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


class LegacyPropertyColumns(models.Model):
    """Type and status as free text, as people typed them; null and blank both occur."""

    type = models.TextField(null=True, blank=True)
    status = models.TextField(null=True, blank=True)

    class Meta:
        abstract = True


class NewPropertyColumns(models.Model):
    """Type and status as lookup rows, and what is derived from them.

    The keys carry neither constraint nor index: the rollout adds the constraints once every row
    is filled, and an index on a column being filled would rule out in-place (HOT) updates. All are
    nullable until then.
    """

    property_type = models.ForeignKey(
        PropertyType,
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    property_status = models.ForeignKey(
        PropertyStatus,
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    currency = models.CharField(max_length=3, null=True)
    published_at = models.DateTimeField(null=True)
    is_listed = models.BooleanField(null=True)

    class Meta:
        abstract = True


class LegacyProperty(PropertyColumns, LegacyPropertyColumns):
    class Meta:
        db_table = "properties"
        verbose_name_plural = "legacy properties"
        indexes = [
            models.Index(fields=["city"], name="properties_city_idx"),
            models.Index(fields=["created_at"], name="properties_created_idx"),
            models.Index(fields=["type", "status"], name="properties_type_status_idx"),
            # Of what a search for words looks at: no page reads the whole table.
            *(
                GinIndex(
                    OpClass(Upper(column), name="gin_trgm_ops"), name=f"properties_{column}_trgm"
                )
                for column in SEARCHED_COLUMNS
            ),
        ]


class ExpandedProperty(PropertyColumns, LegacyPropertyColumns, NewPropertyColumns):
    class Meta:
        managed = False
        db_table = "properties"
        verbose_name_plural = "expanded properties"


class NormalizedProperty(PropertyColumns, NewPropertyColumns):
    class Meta:
        managed = False
        db_table = "properties"
        verbose_name_plural = "normalized properties"


class ImageColumns(models.Model):
    """The columns of ``property_images`` that no phase changes, but for the owner's key."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    url = models.TextField()
    position = models.IntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.url


class NewImageColumns(models.Model):
    """Where the file is and what is in it. ``checksum`` is SHA-256 in hexadecimal."""

    storage_key = models.TextField(null=True)
    checksum = models.TextField(null=True)
    width = models.IntegerField(null=True)
    height = models.IntegerField(null=True)

    class Meta:
        abstract = True


class LegacyPropertyImage(ImageColumns):
    property = models.ForeignKey(LegacyProperty, on_delete=models.CASCADE, related_name="+")

    class Meta:
        db_table = "property_images"


class ExpandedPropertyImage(ImageColumns, NewImageColumns):
    property = models.ForeignKey(ExpandedProperty, on_delete=models.CASCADE, related_name="+")

    class Meta:
        managed = False
        db_table = "property_images"


class NormalizedPropertyImage(ImageColumns, NewImageColumns):
    property = models.ForeignKey(NormalizedProperty, on_delete=models.CASCADE, related_name="+")

    class Meta:
        managed = False
        db_table = "property_images"


class PropertyListingCount(models.Model):
    """A row of the materialized view that phase 4 adds: listings per type, status and city."""

    pk = models.CompositePrimaryKey("type", "status", "city")
    type = models.TextField()
    status = models.TextField()
    city = models.TextField()
    listings = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "property_listing_counts"

    def __str__(self) -> str:
        return f"{self.type}, {self.status}, {self.city}: {self.listings}"
