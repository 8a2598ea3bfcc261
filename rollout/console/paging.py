"""Pages of a list by key: page 4,000 costs what page 1 costs, and new rows shift nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db.models import Model, QuerySet
from django.http import QueryDict

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True)
class Page(Generic[Row]):
    """``next`` is the key after which the following page begins, None on the last one."""

    rows: list[Row]
    next: int | None
    first: bool
    newest_first: bool
    other_order: str | None
    """The address's ``order`` for the opposite of this order; None for the list's usual one."""

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def page_of(
    rows: QuerySet[Row], query: QueryDict, *, size: int, newest_first: bool = True
) -> Page[Row]:
    """The rows after the key that the address names as ``after``; from the first for any other.

    ``order`` in the address turns the list's usual order round: "oldest" or "newest".
    """
    turned = "oldest" if newest_first else "newest"
    is_turned = query.get("order") == turned
    newest_first ^= is_turned
    after = query.get("after", "")
    known = after.isdecimal() and len(after) < 19
    ordered = rows.order_by("-pk" if newest_first else "pk")
    if known:
        ordered = ordered.filter(**{"pk__lt" if newest_first else "pk__gt": int(after)})
    found = list(ordered[: size + 1])
    more = len(found) > size
    return Page(
        found[:size],
        found[size - 1].pk if more else None,
        first=not known,
        newest_first=newest_first,
        other_order=None if is_turned else turned,
    )
