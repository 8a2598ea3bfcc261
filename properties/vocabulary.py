"""Words that real listings use for type and status, spelt as people really spell them.

Each value is followed by its spellings, the commonest value and the commonest spelling first.
Those that differ only in case or white space are one value to the rollout; synonyms are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

TYPES: Mapping[str, Sequence[str]] = {
    "Apartment": ("Apartment", "apartment", "APARTMENT", " Apartment", "Apartment  ", "Apt", "apt"),
    "House": ("House", "house", "HOUSE", "House for sale", "House\u00a0for sale", " house "),
    "Condo": ("Condo", "condo", "CONDO", "Condo for sale", "Condo  for sale", "Condominium"),
    "Townhouse": ("Townhouse", "townhouse", "Town house", "TOWNHOUSE", "Townhouse for sale"),
    "Co-op": ("Co-op", "co-op", "Co-op for sale", "Coop", "CO-OP"),
    "Multi-family": ("Multi-family", "Multi-family home", "multi-family", "Multi  family"),
    "Studio": ("Studio", "studio", "Studio apartment", "STUDIO"),
    "Apartment for sale": ("Apartment for sale", "apartment for sale", "Apartment  for  sale"),
    "Duplex": ("Duplex", "duplex", " Duplex"),
    "Villa": ("Villa", "villa", "VILLA"),
    "Penthouse": ("Penthouse", "penthouse", "Pent house"),
    "Loft": ("Loft", "loft", "Loft "),
    "Land": ("Land", "land", "Land for sale"),
    "Maison": ("Maison", "maison", "Maison à vendre"),
    "Wohnung": ("Wohnung", "wohnung", "Eigentumswohnung"),
    "Mobile home": ("Mobile home", "Mobile house", "mobile\u00a0home"),
    "Cottage": ("Cottage", "cottage", "Cottage\u00a0"),
    "Bungalow": ("Bungalow", "bungalow"),
    "マンション": ("マンション", " マンション", "分譲マンション"),
    "Commercial": ("Commercial", "commercial", "COMMERCIAL"),
    "Einfamilienhaus": ("Einfamilienhaus", "EFH"),
    "Propriété": ("Propriété", "propriété", "PROPRIÉTÉ"),
    "一戸建て": ("一戸建て", "一戸建て\u3000"),
    "Büro": ("Büro", "büro"),
    "Houseboat": ("Houseboat", "House boat"),
}

STATUSES: Mapping[str, Sequence[str]] = {
    "For sale": ("For sale", "for sale", "FOR SALE", "For  sale", " For sale", "For\u00a0sale"),
    "Active": ("Active", "active", "ACTIVE", "Active "),
    "Pending": ("Pending", "pending", "PENDING", " pending"),
    "Sold": ("Sold", "sold", "SOLD", "Sold!"),
    "Contingent": ("Contingent", "contingent", "Contingent "),
    "Under contract": ("Under contract", "under contract", "Under\u00a0contract", "UC"),
    "Coming soon": ("Coming soon", "Coming Soon", "coming soon"),
    "Off market": ("Off market", "off market", "Off-market"),
    "Foreclosure": ("Foreclosure", "foreclosure"),
    "Zu verkaufen": ("Zu verkaufen", "zu verkaufen"),
    "À vendre": ("À vendre", "à vendre", "À VENDRE"),
    "Withdrawn": ("Withdrawn", "withdrawn"),
}

# What stands where nothing was typed, and how often of all rows.
MISSING: Mapping[str | None, float] = {None: 0.02, "": 0.01, "   ": 0.005}


def weighted_spellings(values: Mapping[str, Sequence[str]]) -> dict[str | None, float]:
    """Every spelling with its share of rows, by Zipf's law over values and over spellings."""
    weights = dict(_zipf(values))
    total = sum(weights.values())
    present = 1 - sum(MISSING.values())
    return {text: weight / total * present for text, weight in weights.items()} | dict(MISSING)


def _zipf(values: Mapping[str, Sequence[str]]) -> Iterator[tuple[str | None, float]]:
    for rank, spellings in enumerate(values.values(), start=1):
        harmonic = sum(1 / place for place in range(1, len(spellings) + 1))
        for place, spelling in enumerate(spellings, start=1):
            yield spelling, 1 / rank / place / harmonic
