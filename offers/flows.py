"""What must work in every phase. The rollout tests it in a transaction that it rolls back."""

from offers import book
from offers.models import cents_of


class FlowFailed(Exception):
    """What was written cannot be read back."""


def make_offer(*, using: str) -> str:
    """Make an offer, change its price, and read it."""
    offer = book.make_offer("1 Broadway", "A smoke test", "$1,250,000", using=using)
    for price in ("$1,250,000", "990000.50"):
        book.change_price(offer, price, using=using)
        shown = book.get_offer(offer, using=using).shown_price
        if cents_of(shown) != cents_of(price):
            raise FlowFailed(f"The price of offer {offer} reads {shown} instead of {price}.")
    return f"Offer {offer} made, its price changed and read."
