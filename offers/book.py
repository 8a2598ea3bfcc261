"""Make, change and list offers, in the shape that the rollout of their prices has in force."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from offers.models import LegacyOffer, Offer, OfferColumns
from rollout.modes import current_modes

PLAN = "offer-prices"


class OfferNotFound(Exception):
    """There is no offer with this id."""


@contextmanager
def current_offer(*, using: str) -> Iterator[Any]:
    """The model in force, LegacyOffer or Offer, in a transaction during which it stays that."""
    with current_modes(PLAN, using=using) as modes:
        yield modes.model_of(LegacyOffer, Offer)


def make_offer(home: str, buyer: str, price: str, *, using: str = "default") -> int:
    """Add an offer with the price that the buyer typed; its id."""
    with current_offer(using=using) as model:
        rows = model._default_manager.using(using)
        return int(rows.create(home=home, buyer=buyer, price=model.price_of(price)).pk)


def change_price(offer: int, price: str, *, using: str = "default") -> None:
    """Write another price. Raises OfferNotFound."""
    with current_offer(using=using) as model:
        rows = model._default_manager.using(using).filter(pk=offer)
        if not rows.update(price=model.price_of(price)):
            raise OfferNotFound(f"There is no offer {offer}.")


def get_offer(offer: int, *, using: str = "default") -> OfferColumns:
    """Raises OfferNotFound."""
    with current_offer(using=using) as model:
        row: OfferColumns | None = model._default_manager.using(using).filter(pk=offer).first()
    if row is None:
        raise OfferNotFound(f"There is no offer {offer}.")
    return row


def newest_offers(count: int, *, using: str = "default") -> Sequence[OfferColumns]:
    with current_offer(using=using) as model:
        return list(model._default_manager.using(using).order_by("-pk")[:count])
