"""An application that writes all the time and remembers what must be there at the end."""

import random
import re
import threading
import traceback
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import connection

from properties import catalog
from properties.listings import Listing, PropertyFields
from properties.transition.models import LegacyProperty
from rollout.modes import Modes, current_modes
from tests.support.rollouts import PLAN

TYPES = ("House", "house", "  HOUSE", "Loft ", "Château", "Co-op\u00a0for sale", None, "", "   ")
STATUSES = ("For sale", " for  SALE", "Active", "Sold", "Coming soon", None, "Under contract ")


# What people decide about texts that are written, by their forms.
MEANINGS: dict[str, str] = {}


def form(text: str | None) -> str:
    """What two spellings of one value have in common, people's decisions included."""
    tidy = re.sub(r"[\s\u00a0]+", " ", text or "").strip().lower() or "unspecified"
    return MEANINGS.get(tidy, tidy)


@dataclass(frozen=True)
class Text:
    """A value as it must be at the end: its form always, its spelling where text was written."""

    form: str
    spelling: str | None = None
    spelling_is_known: bool = False

    def is_kept_in(self, text: str | None) -> bool:
        if self.spelling_is_known:
            return text == self.spelling
        return form(text) == self.form


@dataclass(frozen=True)
class Written:
    """What was last written to a row, and when."""

    at: datetime
    title: str
    price: Decimal
    type: Text
    status: Text


class Writer(threading.Thread):
    """Creates and updates listings until told to stop; every commit is remembered.

    A listing that somebody else has written to since, as its time of change tells, is given up.
    """

    def __init__(self, *, seed: int = 1, pause: float = 0.02) -> None:
        super().__init__(name="writer")
        self.written: dict[UUID, Written] = {}
        self.writes = {"legacy": 0, "both": 0, "new": 0}
        self.errors: list[str] = []
        self._random = random.Random(seed)
        self._pause = pause
        self._stop_asked = threading.Event()

    def run(self) -> None:
        try:
            while not self._stop_asked.wait(self._pause):
                try:
                    self._write()
                except Exception:
                    self.errors.append(traceback.format_exc())
        finally:
            connection.close()

    def stop(self) -> None:
        self._stop_asked.set()
        self.join()

    def _write(self) -> None:
        chance = self._random.random()
        fields: PropertyFields = {
            "title": f"Written {self._random.randrange(10**9)}",
            "price": Decimal(self._random.randrange(1, 10**7)),
        }
        if chance < 0.3 or not self.written:
            self._create(fields)
        else:
            if chance < 0.8:
                fields["type"] = self._a_type()
            if chance > 0.5:
                fields["status"] = self._random.choice(STATUSES)
            self._update(self._random.choice(list(self.written)), fields)

    def _a_type(self) -> str | None:
        if self._random.random() < 0.05:
            return f"Yurt {self._random.randrange(50)}"
        return self._random.choice(TYPES)

    def _create(self, fields: PropertyFields) -> None:
        fields["type"] = self._a_type()
        fields["status"] = self._random.choice(STATUSES)
        with current_modes(PLAN) as modes:
            listing = catalog.create_property(fields)
            texts = self._texts(listing.id, fields, modes, Text(""), Text(""))
        self._remember(listing, fields, modes, texts)

    def _update(self, key: UUID, fields: PropertyFields) -> None:
        before = self.written[key]
        with current_modes(PLAN) as modes:
            row = LegacyProperty.objects.select_for_update(no_key=True).filter(pk=key)
            if row.values_list("updated_at", flat=True)[0] != before.at:
                del self.written[key]
                return
            listing = catalog.update_property(key, fields)
            texts = self._texts(key, fields, modes, before.type, before.status)
        seen = (form(listing.type), form(listing.status))
        assert seen == (texts[0].form, texts[1].form), f"{seen} after {fields} on {before}"
        self._remember(listing, fields, modes, texts)

    def _remember(
        self, listing: Listing, fields: PropertyFields, modes: Modes, texts: tuple[Text, Text]
    ) -> None:
        price = fields["price"]
        assert price is not None
        self.written[listing.id] = Written(listing.updated_at, fields["title"], price, *texts)
        self.writes[modes.write] += 1

    def _texts(
        self, key: UUID, fields: PropertyFields, modes: Modes, type: Text, status: Text
    ) -> tuple[Text, Text]:
        """What the row's two values must be from now on."""
        if "type" in fields:
            type = _after(type, fields["type"])
        if "status" in fields:
            status = _after(status, fields["status"])
        if modes.write != "new":
            row = LegacyProperty.objects.values("type", "status").get(pk=key)
            type, status = _spelt(type, row["type"]), _spelt(status, row["status"])
        return type, status


def _after(before: Text, given: str | None) -> Text:
    """A value that means the same keeps its spelling unless text is written."""
    return before if before.form == form(given) else Text(form(given))


def _spelt(text: Text, spelling: str | None) -> Text:
    assert form(spelling) == text.form, f"found {spelling!r} where {text} was to be"
    return replace(text, spelling=spelling, spelling_is_known=True)
