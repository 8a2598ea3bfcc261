"""The backfill as a task of django-maintenance-tasks, written as its README writes one."""

from functools import cached_property

from django.db.models import QuerySet
from maintenance_tasks import MaintenanceTask

from bench.models import UuidListing
from bench.peers.site import values
from bench.peers.site.mappings import mapping


class FillListings(MaintenanceTask):  # type: ignore[misc]
    description = "Fill the new columns of the listings."
    batch_size = 500

    @cached_property
    def types(self) -> dict[str, int]:
        return mapping("type")

    @cached_property
    def statuses(self) -> dict[str, int]:
        return mapping("status")

    def collection(self) -> QuerySet[UuidListing]:
        return UuidListing._default_manager.only(*values.READ)

    def process(self, listing: UuidListing) -> None:
        values.fill(listing, self.types, self.statuses)
        listing.save(update_fields=values.WRITTEN)
