"""What a review's buttons answer."""

from collections.abc import Sequence

from django.template.defaultfilters import truncatechars

from rollout.logs.texts import counted, listed
from rollout.models import MappingChange
from rollout.plan.translations import Lookup

# Values that a message names, and how many characters of each.
MAX_NAMED = 5
MAX_LENGTH = 40


def decided(change: MappingChange) -> str:
    column, changed = f"{change.table}.{change.legacy_column}", len(change.changes)
    done = "reset to the plan's default" if change.is_reset else "reviewed"
    values = f"{counted(change.decided, 'value')} of {column} {done}"
    if not changed:
        return f"{values}; no mapping changed."
    use = "New writes use it immediately." if change.mapped else "Phase 2 will use it."
    return f"{values}, {counted(changed, 'spelling')} mapped differently. {use}"


def still_open(texts: Sequence[str]) -> str:
    """That values came after a page was loaded, and which."""
    names = listed([f"“{truncatechars(text, MAX_LENGTH)}”" for text in texts], MAX_NAMED, ", ")
    have, stay = ("value has", "stays") if len(texts) == 1 else ("values have", "stay")
    return f"{len(texts):,} {have} come since the page loaded and {stay} open: {names}."


def open_no_more(values: int) -> str:
    """That values which a page showed are not decided on with the others."""
    subject = "1 value is" if values == 1 else f"{values:,} values are"
    return f"{subject} no longer open: decided on meanwhile, or in no row any more."


def continues(done: Lookup, following: Lookup, open_values: int) -> str:
    """That the page of the next lookup follows."""
    return (
        f"No value of {done.table.label}.{done.legacy} is open. Continue with "
        f"{following.table.label}.{following.legacy}: {open_values:,} open."
    )
