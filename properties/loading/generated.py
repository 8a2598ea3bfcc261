"""Made-up listings whose types and statuses are as untidy as real ones."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from properties.loading.rows import Row
from properties.vocabulary import STATUSES, TYPES, weighted_spellings

LISTING_PERIOD = timedelta(days=3 * 365)
BLOCK = 1_000

CITIES = (
    ("Brooklyn", "112", 40.65, -73.95),
    ("Manhattan", "100", 40.78, -73.97),
    ("Queens", "113", 40.73, -73.79),
    ("The Bronx", "104", 40.84, -73.86),
    ("Staten Island", "103", 40.58, -74.15),
    ("Jersey City", "073", 40.72, -74.05),
    ("Montréal", "H2X", 45.51, -73.57),
    ("München", "803", 48.14, 11.58),
    ("Zürich", "800", 47.38, 8.54),
    ("東京", "100", 35.68, 139.69),
)
STREETS = (
    "Main St", "Ocean Ave", "Broadway", "Park Pl", "2nd Ave", "Grand Concourse", "Bedford Ave",
    "Hylan Blvd", "Riverside Dr", "Lindenstraße", "Rue Saint-Denis", "Königsallee", "銀座通り",
)  # fmt: skip
ADJECTIVES = (
    "Sunny", "NullControl", "Renovated", "Spacious", "Charming", "Bright", "Classic", "Elegant",
    "Gemütliche", "Lumineux", "Top-floor", "Corner", "Pre-war", "Brand-new",
)  # fmt: skip
NOUNS = (
    "home",
    "place",
    "residence",
    "unit",
    "property",
    "opportunity",
    "hideaway",
    "pied-à-terre",
)
OPENINGS = (
    "Freshly painted throughout", "High ceilings and oak floors", "Steps from the subway",
    "Tree-lined street near the park", "South-facing with river views", "Kitchen redone last year",
    "Calme et lumineux", "Ruhige Lage im Hinterhof", "Garden shared with one neighbour",
)  # fmt: skip
FEATURES = (
    "washer and dryer in the unit", "a doorman and a roof deck", "central air", "parking for two",
    "low monthly charges", "storage in the basement", "a working fireplace", "new windows",
    "pets are welcome", "no board approval needed", "Balkon nach Süden", "cave et ascenseur",
)  # fmt: skip
CLOSINGS = (
    "Call to arrange a visit.", "Shown by appointment only.", "Open house on Sunday.",
    "Offers reviewed as they come.", "Will not last long.",
)  # fmt: skip


def generated_rows(count: int, *, seed: int, now: datetime) -> Iterator[Row]:
    """``count`` listings added over the three years before ``now``, the oldest first.

    The ids depend on nothing but the seed, so loading the same seed again adds only what the
    first load did not reach.
    """
    ids = random.Random(f"ids {seed}")
    words = random.Random(f"words {seed}")
    types, statuses = weighted_spellings(TYPES), weighted_spellings(STATUSES)
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        chosen = zip(
            words.choices(list(types), list(types.values()), k=size),
            words.choices(list(statuses), list(statuses.values()), k=size),
            strict=True,
        )
        for place, (type_text, status_text) in enumerate(chosen, start):
            created = now - LISTING_PERIOD * ((count - place) / count)
            key = UUID(int=ids.getrandbits(128), version=4)
            yield _row(words, str(key), type_text, status_text, created.isoformat())


def _row(
    words: random.Random, key: str, type_text: str | None, status_text: str | None, created: str
) -> Row:
    pick, chance = words.choice, words.random
    city, postal_prefix, latitude, longitude = CITIES[int(chance() ** 2 * len(CITIES))]
    bedrooms = int(chance() ** 2 * 7)
    area = 350 + bedrooms * 260 + int(chance() * 600)
    street = pick(STREETS)
    number = 1 + int(chance() * 999)
    return Row(
        id=key,
        title=f"{pick(ADJECTIVES)} {bedrooms or 1}-bedroom {pick(NOUNS)}, {street}",
        description=f"{pick(OPENINGS)}; {pick(FEATURES)}, {pick(FEATURES)}. {pick(CLOSINGS)}",
        address=f"{number} {street}, Apt {1 + int(chance() * 40)}",
        city=city,
        postal_code=f"{postal_prefix}{int(chance() * 100):02}",
        price=None if chance() < 0.01 else f"{area * (300 + int(chance() * 1_500))}.00",
        bedrooms=str(bedrooms),
        bathrooms=f"{1 + int(chance() * (bedrooms + 1)) / 2:.1f}",
        area=None if chance() < 0.1 else f"{area}.0",
        latitude=f"{latitude + chance() / 10 - 0.05:.6f}",
        longitude=f"{longitude + chance() / 10 - 0.05:.6f}",
        type=type_text,
        status=status_text,
        created_at=created,
        updated_at=created,
    )
