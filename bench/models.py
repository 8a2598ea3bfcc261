"""The listings as Django sees them, for the loop that goes through the ORM."""

import uuid

from django.db import models


class Listing(models.Model):
    """What a row translates: two texts and a moment, into five columns."""

    type = models.TextField(null=True)
    status = models.TextField(null=True)
    created_at = models.DateTimeField()
    type_id = models.IntegerField(null=True)
    status_id = models.IntegerField(null=True)
    currency = models.CharField(max_length=3, null=True)
    is_listed = models.BooleanField(null=True)
    published_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True


class UuidListing(Listing):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)

    class Meta:
        managed = False
        db_table = "listings"

    def __str__(self) -> str:
        return str(self.pk)


class BigintListing(Listing):
    id = models.BigAutoField(primary_key=True)

    class Meta:
        managed = False
        db_table = "listings"

    def __str__(self) -> str:
        return str(self.pk)
