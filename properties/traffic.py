"""A small stream of what people do on the property pages, for demos and tests."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from threading import Event
from typing import TypeVar
from uuid import UUID

from django.db import close_old_connections, connections

from properties import catalog
from properties.example_images import example_png
from properties.listings import Filters, PropertyFields
from properties.vocabulary import STATUSES, TYPES, weighted_spellings
from rollout.telemetry import operation

T = TypeVar("T")

NEW_VALUES = ("Chalet", "Yurt", "Barn", "Ático", "Tiny house", "Schloss", "長屋", "Château")
WORDS = ("home", "garden", "Broadway", "subway", "sunny", "Park", "renovated", "straße")
REPORT_EVERY = 100
# Enough for a guardrail that throttles, too little for one that pauses.
SLOW_SECONDS = 0.15
MAX_KNOWN_IDS = 2_000


class Trouble(Exception):
    """Somebody asked for failing operations."""


class Traffic:
    """Creates, updates, searches, shows and illustrates properties, one at a time.

    No error ends it: a database that is away, or a rollout that does something wrong, is what
    it is there to meet. Errors are counted and the last one is named in the next report.
    """

    def __init__(
        self,
        *,
        seed: int,
        report: Callable[[str], None],
        using: str = "default",
        slow_seconds: float = 0.0,
        slow_until: Path | None = None,
        error_share: float = 0.0,
    ) -> None:
        self.operations = 0
        self.errors = 0
        self._last_error = ""
        self._random = random.Random(seed)
        self._report = report
        self._using = using
        self._slow_seconds = slow_seconds
        self._slow_until = slow_until
        self._error_share = error_share
        self._known: deque[UUID] = deque(maxlen=MAX_KNOWN_IDS)
        # How often out of a hundred, and what.
        self._verbs: Mapping[Callable[[], None], int] = {
            self.search: 40,
            self.show: 25,
            self.update: 20,
            self.create: 14,
            self.upload: 1,
        }

    def run(self, stop: Event, *, rate: float, duration: float | None = None) -> None:
        """Work at ``rate`` operations a second until ``stop``, or for ``duration`` seconds."""
        began = due = time.monotonic()
        while not stop.wait(max(0.0, due - time.monotonic())):
            if duration is not None and time.monotonic() - began >= duration:
                return
            self.once()
            # After a stall the pace continues from here: what was missed is not made up for.
            due = max(due + 1 / rate, time.monotonic() - 1)

    def pick_verb(self, *, besides: Callable[[], None] | None = None) -> Callable[[], None]:
        """What is done next."""
        verbs = [verb for verb in self._verbs if verb != besides]
        (verb,) = self._random.choices(verbs, [self._verbs[verb] for verb in verbs])
        return verb

    def do(self, verb: Callable[[], None]) -> None:
        """Do one thing. Raises whatever goes wrong."""
        with operation("detail" if verb == self.show else verb.__name__):
            self._suffer()
            verb()

    def once(self) -> None:
        try:
            self.do(self.pick_verb())
        except Exception as error:
            self.errors += 1
            self._last_error = f"{type(error).__name__}: {error}".splitlines()[0]
            # A broken connection is dropped here; the next operation opens another.
            close_old_connections()
        self.operations += 1
        if self.operations % REPORT_EVERY == 0:
            self._report(self.summary())

    def _suffer(self) -> None:
        """Be slow, in the database as most that is slow, and fail, as far as that was requested."""
        if seconds := self._slow_seconds or self._slow_for_now():
            with connections[self._using].cursor() as cursor:
                cursor.execute("SELECT pg_sleep(%s)", [seconds])
        if self._random.random() < self._error_share:
            raise Trouble("This operation fails on request.")

    def _slow_for_now(self) -> float:
        """Seconds longer that an operation takes until the moment that the file names."""
        if self._slow_until is None or not self._slow_until.exists():
            return 0.0
        text = self._slow_until.read_text().strip()
        return SLOW_SECONDS if time.time() < float(text or 0) else 0.0

    def summary(self) -> str:
        last = f" (last: {self._last_error})" if self._last_error else ""
        return f"{self.operations:,} operations, {self.errors:,} errors{last}"

    def create(self) -> None:
        chance = self._random.random
        fields: PropertyFields = {
            "title": f"{self._pick(WORDS).capitalize()} {int(chance() * 10_000)}",
            "description": f"Near {self._pick(WORDS)} and {self._pick(WORDS)}.",
            "address": f"{1 + int(chance() * 999)} Broadway",
            "city": "Manhattan",
            "postal_code": f"100{int(chance() * 100):02}",
            "price": self._price(),
            "bedrooms": int(chance() * 5),
            "type": self._text(TYPES),
            "status": self._text(STATUSES),
        }
        self._known.append(catalog.create_property(fields, using=self._using).id)

    def update(self) -> None:
        changes: PropertyFields = {"price": self._price()}
        if self._random.random() < 0.5:
            changes["type"] = self._text(TYPES)
        if self._random.random() < 0.5:
            changes["status"] = self._text(STATUSES)
        catalog.update_property(self._somewhere(), changes, using=self._using)

    def search(self) -> None:
        filters = self._pick(
            (
                Filters(),
                Filters(text=self._pick(WORDS)),
                Filters(type=self._pick(tuple(TYPES))),
                Filters(status=self._pick(tuple(STATUSES))),
                Filters(price_from=Decimal(200_000), price_to=Decimal(900_000)),
            )
        )
        page = catalog.search(filters, using=self._using)
        self._known.extend(listing.id for listing in page.listings)

    def show(self) -> None:
        catalog.get_property(self._somewhere(), using=self._using)

    def upload(self) -> None:
        colour = f"#{self._random.getrandbits(24):06x}"
        catalog.attach_image(self._somewhere(), example_png(colour=colour), using=self._using)

    def _somewhere(self) -> UUID:
        """A property to work on; the first call makes or finds some."""
        if not self._known:
            self.create()
        return self._known[self._random.randrange(len(self._known))]

    def _price(self) -> Decimal:
        return Decimal(self._random.randrange(90_000, 3_000_000, 500))

    def _text(self, values: Mapping[str, Sequence[str]]) -> str | None:
        """Mostly a known spelling, sometimes an untidy one, rarely a value nobody has used."""
        chance = self._random.random()
        if chance < 0.005:
            return f"{self._pick(NEW_VALUES)} {self._random.randrange(100)}"
        spellings = weighted_spellings(values)
        (text,) = self._random.choices(list(spellings), list(spellings.values()))
        if text and chance < 0.1:
            return self._pick((f"  {text}", f"{text}\u00a0 ", text.upper(), text.swapcase()))
        return text

    def _pick(self, choices: Sequence[T]) -> T:
        return self._random.choice(choices)
