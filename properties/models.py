"""The property tables as the rollout leaves them. No migration makes them: the rollout does."""

from __future__ import annotations

from django.db import models

from properties.columns import ImageColumns, PropertyColumns


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


class Property(PropertyColumns):
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
        managed = False
        db_table = "properties"
        verbose_name_plural = "properties"


class PropertyImage(ImageColumns):
    """Where the file is and what is in it. ``checksum`` is SHA-256 in hexadecimal."""

    property = models.ForeignKey(Property, on_delete=models.CASCADE, related_name="+")
    storage_key = models.TextField(null=True)
    checksum = models.TextField(null=True)
    width = models.IntegerField(null=True)
    height = models.IntegerField(null=True)

    class Meta:
        managed = False
        db_table = "property_images"


class PropertyListingCount(models.Model):
    """A row of the materialized view that phase 4 adds: listings per type, status and city.

    Without a city it counts the listings of all.
    """

    pk = models.CompositePrimaryKey("city", "type", "status")
    type = models.TextField()
    status = models.TextField()
    city = models.TextField()
    listings = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "property_listing_counts"

    def __str__(self) -> str:
        return f"{self.type}, {self.status}, {self.city}: {self.listings}"
