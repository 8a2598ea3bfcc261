"""Made-up offers, with prices as buyers type them: some are no number, and people decide."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice

from django.utils import timezone

from offers.book import current_offer

OFFERS = 4_000
PERIOD = timedelta(days=90)
BATCH = 1_000
# Texts without a conversion, and how many offers have each: far fewer than would stop a backfill.
NO_NUMBERS = {"on request": 6, "asking price": 4, "1.2m": 3, "850k": 2, "n/a": 1, "two million": 1}
STREETS = ("Main St", "Ocean Ave", "Broadway", "Park Pl", "Grand Concourse", "Lindenstraße")
BUYERS = ("Ada Lovelace", "Grace Hopper", "Alan Turing", "Mary Jackson", "Émilie du Châtelet")


def price_text(source: random.Random) -> str:
    """A price that converts, spelt in one of the ways in which people spell it."""
    dollars = source.randrange(90_000, 3_000_000, 500)
    cents = source.choice(("", "", "", ".00", ".50"))
    return source.choice(
        (f"{dollars}{cents}", f"{dollars:,}{cents}", f"${dollars:,}{cents}", f" {dollars} ")
    )


def pick_home(source: random.Random) -> str:
    return f"{source.randrange(1, 999)} {source.choice(STREETS)}"


def pick_buyer(source: random.Random) -> str:
    return source.choice(BUYERS)


def fill(count: int = OFFERS, *, seed: int = 1, using: str = "default") -> int:
    """Add so many offers to an empty table, the oldest first; how many were added."""
    with current_offer(using=using) as model:
        rows = model._default_manager.using(using)
        if rows.exists():
            return 0
        now = timezone.now()
        made = (
            model(
                home=home,
                buyer=buyer,
                price=model.price_of(price),
                made_at=now - PERIOD * ((count - place) / count),
            )
            for place, (home, buyer, price) in enumerate(_offers(count, seed))
        )
        while batch := list(islice(made, BATCH)):
            rows.bulk_create(batch)
    return count


def _offers(count: int, seed: int) -> Iterator[tuple[str, str, str]]:
    source = random.Random(f"offers {seed}")
    texts = [text for text, rows in NO_NUMBERS.items() for _ in range(rows)][:count]
    planted = dict(zip(source.sample(range(count), len(texts)), texts, strict=True))
    for place in range(count):
        price = planted.get(place) or price_text(source)
        yield pick_home(source), pick_buyer(source), price
