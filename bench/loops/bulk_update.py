"""A Django iterator, its rows computed in Python and written by bulk_update, 1000 at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from psycopg import sql

from bench.loops.base import BATCH, Bounds, Copy, Run, Stopwatch, Work
from bench.models import BigintListing, Listing, UuidListing
from bench.peers.site import values
from bench.server import Connection, django_uses
from rollout.plan.names import in_target

MODELS: dict[str, type[Listing]] = {"uuid": UuidListing, "bigint": BigintListing}


@contextmanager
def bulk_update(copy: Copy) -> Iterator[Run]:
    with copy.database.connect() as connection:
        types, statuses = (_mapping(connection, copy, column) for column in ("type", "status"))

    def run(bounds: Bounds) -> Work:
        objects = MODELS[copy.key]._default_manager
        watch = Stopwatch(bounds)
        listings = objects.order_by("pk").only(*values.READ)[: bounds.rows]
        remaining = listings.iterator(chunk_size=BATCH)
        while watch.goes_on and (batch := list(islice(remaining, BATCH))):
            for listing in batch:
                values.fill(listing, types, statuses)
            objects.bulk_update(batch, values.WRITTEN, batch_size=BATCH)
            watch.rows += len(batch)
        return watch.work()

    with django_uses(copy.database):
        yield run


def _mapping(connection: Connection, copy: Copy, column: str) -> dict[str, int]:
    lookup = next(
        lookup for lookup in copy.plan.lookups_of(copy.plan.tables[0]) if lookup.legacy == column
    )
    rows = connection.execute(
        sql.SQL("SELECT legacy, lookup_id FROM {}").format(
            in_target(lookup.mapping_name(copy.plan.name))
        )
    )
    return dict(rows.fetchall())
