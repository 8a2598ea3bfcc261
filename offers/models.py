"""The table of offers: before the rollout of its prices, and as that leaves it.

Both models have the same columns. The type of ``price`` changes with the cutover.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from django.db import models
from django.utils import timezone


class OfferColumns(models.Model):
    id = models.BigAutoField(primary_key=True)
    home = models.TextField()
    buyer = models.TextField()
    made_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.buyer} for {self.home}: {self.shown_price}"

    @property
    def shown_price(self) -> str:
        """The price as people see it; empty without one."""
        raise NotImplementedError

    @staticmethod
    def price_of(text: str) -> str | int | None:
        """What the column holds of a price that somebody typed."""
        raise NotImplementedError


class LegacyOffer(OfferColumns):
    """The price as the buyer typed it."""

    price = models.TextField(null=True, blank=True)

    class Meta:
        app_label = "offers"
        db_table = "offers"

    @property
    def shown_price(self) -> str:
        return self.price or ""

    @staticmethod
    def price_of(text: str) -> str:
        return text


class Offer(OfferColumns):
    """The price in whole cents. Empty where the buyer named no number."""

    price = models.BigIntegerField(null=True)

    class Meta:
        app_label = "offers"
        managed = False
        db_table = "offers"

    @property
    def shown_price(self) -> str:
        return "" if self.price is None else f"{Decimal(self.price) / 100:,.2f}"

    @staticmethod
    def price_of(text: str) -> int | None:
        return cents_of(text)


def cents_of(text: str) -> int | None:
    """A price that somebody typed in cents, as the plan converts it; None if it is no number."""
    try:
        cents = Decimal(re.sub("[$,]", "", text)) * 100
        return int(cents.quantize(Decimal(1), ROUND_HALF_UP))
    except (InvalidOperation, ValueError):
        return None
