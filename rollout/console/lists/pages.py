"""Pages of a list by key: page 4,000 costs what page 1 costs, and new rows shift nothing.

The address says in which ``order`` a list is read, and ``after`` which row a page begins: the
row's key, and before it, with a dot, its value in the column that the order is by.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from heapq import nlargest, nsmallest
from operator import gt, lt
from typing import Any, Generic, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from django.http import QueryDict

Row = TypeVar("Row")
ModelRow = TypeVar("ModelRow", bound=Model)


@dataclass(frozen=True)
class Order:
    """An order in which a list can be read: by a column, rows of the same value by their key."""

    name: str
    """In the address."""
    words: str
    column: str = "pk"
    descending: bool = False
    field: str = ""
    """The field that its values are like, where ``column`` is computed by the query."""


NEWEST = Order("newest", "Newest first", descending=True)
OLDEST = Order("oldest", "Oldest first")
BY_AGE = (NEWEST, OLDEST)


@dataclass(frozen=True)
class Page(Generic[Row]):
    """``next`` says after which row the following page begins, None on the last one."""

    rows: list[Row]
    next: str | None
    first: bool
    order: Order
    orders: tuple[Order, ...]
    """The orders that the list can be read in, the default first."""
    misread: str = ""
    """What of the address cannot be understood, and what is shown instead."""

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def name_of_order(self) -> str | None:
        return self.name_of(self.order)

    @property
    def others(self) -> list[tuple[Order, str | None]]:
        """The other orders, each with what the address calls it; the usual one has no name."""
        return [(order, self.name_of(order)) for order in self.orders if order != self.order]

    def name_of(self, order: Order) -> str | None:
        return None if order == self.orders[0] else order.name

    def head_of(self, column: str) -> dict[str, Any]:
        """What a column's head tells: how the list is sorted by it, and which order it leads to."""
        here = self.order.column == column
        there = [order for order in self.orders if order.column == column and order != self.order]
        return {
            "sorted": ("descending" if self.order.descending else "ascending") if here else "",
            "next": there[0] if there else None,
            "name": self.name_of(there[0]) if there else None,
        }


def page_of(
    rows: QuerySet[ModelRow],
    query: QueryDict,
    *,
    size: int,
    orders: tuple[Order, ...] = BY_AGE,
) -> Page[ModelRow]:
    """The rows that the address asks for; from the first where it names no row's place."""

    def place_of(row: ModelRow, order: Order) -> str:
        return f"{row.pk}" if order.column == "pk" else f"{getattr(row, order.column)}.{row.pk}"

    order, misread = order_asked(query, orders)
    sign = "-" if order.descending else ""
    ordered = rows.order_by(*dict.fromkeys((f"{sign}{order.column}", f"{sign}pk")))
    beyond = _beyond(rows.model, order, query.get("after", ""))
    if beyond is not None:
        ordered = ordered.filter(beyond)
    chosen = list(ordered[: size + 1])
    return _page(chosen, query, size, order, orders, misread, place_of, known=beyond is not None)


def page_of_texts(
    rows: Iterable[Row],
    query: QueryDict,
    *,
    size: int,
    orders: tuple[Order, ...],
    key: str,
) -> Page[Row]:
    """As ``page_of``, of rows in memory whose key is a text: the attribute ``key``.

    An order is by that or by a number, and rows of the same number stand by their key from A to Z.
    """

    order, misread = order_asked(query, orders)
    by_key = order.column == key
    sign = -1 if order.descending else 1

    def rank(row: Row) -> tuple[Any, ...]:
        text = getattr(row, key)
        return (text,) if by_key else (sign * (getattr(row, order.column) or 0), text)

    def place_of(row: Row, order: Order) -> str:
        *number, text = rank(row)
        return ".".join([*(str(abs(n)) for n in number), text])

    place = _rank_in(query.get("after", ""), None if by_key else sign)
    first, beyond = (nlargest, lt) if by_key and order.descending else (nsmallest, gt)
    if place is not None:
        rows = (row for row in rows if beyond(rank(row), place))
    chosen = first(size + 1, rows, key=rank)
    return _page(chosen, query, size, order, orders, misread, place_of, known=place is not None)


def _rank_in(after: str, sign: int | None) -> tuple[Any, ...] | None:
    if sign is None:
        return (after,) if after else None
    number, dot, text = after.partition(".")
    return (sign * int(number), text) if dot and number.isdecimal() and len(number) < 19 else None


def order_asked(query: QueryDict, orders: tuple[Order, ...]) -> tuple[Order, str]:
    """The order that the address names, else the usual one; and what is wrong with the name."""
    name = query.get("order", "")
    asked = next((order for order in orders if order.name == name), None)
    if asked is not None or not name:
        return asked or orders[0], ""
    known = ", ".join(order.name for order in orders)
    return orders[0], f"Unknown sort order; showing the default. Choose one of: {known}."


def _page(
    rows: list[Row],
    query: QueryDict,
    size: int,
    order: Order,
    orders: tuple[Order, ...],
    misread: str,
    place_of: Callable[[Row, Order], str],
    *,
    known: bool,
) -> Page[Row]:
    if query.get("after") and not known:
        misread = f"{misread} Invalid page link; showing the first page."
    return Page(
        rows[:size],
        place_of(rows[size - 1], order) if len(rows) > size else None,
        first=not known,
        order=order,
        orders=orders,
        misread=misread.strip(),
    )


def _beyond(model: type[Model], order: Order, after: str) -> Q | None:
    """What comes after a row; None where the text names no row's place in the order."""
    value, dot, key = after.rpartition(".")
    by_key = order.column == "pk"
    if "\x00" in after or by_key == bool(dot) or not key.isdecimal() or len(key) > 18:
        return None
    than = "lt" if order.descending else "gt"
    further = Q(**{f"pk__{than}": int(key)})
    if by_key:
        return further
    try:
        field = model._meta.get_field(order.field or order.column)
        known = field.to_python(value)  # type: ignore[union-attr]
    except ValidationError:
        return None
    return Q(**{f"{order.column}__{than}": known}) | Q(**{order.column: known}) & further
