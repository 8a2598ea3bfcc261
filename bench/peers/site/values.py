"""The five new columns of a listing, computed in Python as a team's own code would."""

import re
from collections.abc import Mapping

from bench.models import Listing

READ = ("pk", "type", "status", "created_at")
WRITTEN = ["type_id", "status_id", "currency", "is_listed", "published_at"]
LISTED = {"for sale", "active", "coming soon"}


def fill(listing: Listing, types: Mapping[str, int], statuses: Mapping[str, int]) -> None:
    """Set the new columns by the old ones; ``types`` and ``statuses`` give a text's lookup row."""
    state = re.sub(r"[\s\u00a0]+", " ", listing.status or "").strip().lower()
    listing.type_id = types[listing.type or ""]
    listing.status_id = statuses[listing.status or ""]
    listing.currency = "USD"
    listing.is_listed = state in LISTED
    listing.published_at = listing.created_at if listing.is_listed else None
