"""The backfill as Django's documentation writes a data migration: one transaction."""

import os
from itertools import islice

from django.db import migrations

from bench.models import UuidListing
from bench.peers.site import values
from bench.peers.site.mappings import mapping

BATCH = 1000


def fill(apps, schema_editor):
    types, statuses = mapping("type"), mapping("status")
    rows = int(os.environ["PEER_ROWS"])
    listings = UuidListing._default_manager.order_by("pk").only(*values.READ)[:rows]
    remaining = listings.iterator(chunk_size=BATCH)
    while batch := list(islice(remaining, BATCH)):
        for listing in batch:
            values.fill(listing, types, statuses)
        UuidListing._default_manager.bulk_update(batch, values.WRITTEN)


class Migration(migrations.Migration):
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
