"""The form in which people decide about values that do not convert, and keys in conflict."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from django import forms
from django.http import QueryDict

from rollout.console.lists.filters import ListFilter, choice
from rollout.console.lists.pages import Order
from rollout.engine.plain_words import in_plain_words
from rollout.engine.value_decisions import Decision, UnconvertibleValue
from rollout.logs.texts import counted
from rollout.plan.conversions import Conversion

ORDERS = (
    Order("most-rows", "Most rows first", "rows", descending=True),
    Order("a-to-z", "A–Z", "source"),
)


class ValueFilter(ListFilter):
    """Which values are shown."""

    q = forms.CharField(label="Value", max_length=200, required=False)
    show = choice((("open", "Undecided"), ("decided", "Decided")), "Show")
    lookups: ClassVar = {}

    def matching(self, values: Iterable[UnconvertibleValue]) -> list[UnconvertibleValue]:
        words, show = self.asked.get("q", "").casefold(), self.asked.get("show")
        return [
            value
            for value in values
            if words in value.text.casefold() and (not show or value.is_open == (show == "open"))
        ]


@dataclass(frozen=True)
class Field:
    """What a new column is to hold: its name, its field's number, the text typed or decided."""

    column: str
    number: int
    text: str


@dataclass(frozen=True)
class DecisionRow:
    """A value on the page, what was typed for it, and what is wrong with that."""

    number: int
    value: UnconvertibleValue
    legacy: list[tuple[str, str | None]]
    fields: list[Field]
    is_empty: bool
    was: str
    is_changed: bool
    problem: str
    groups: list[tuple[str, str]]
    """Of a key in conflict, each group of values as the form sends it, and as people read it."""
    reads_as: Mapping[str, str | None]
    """By legacy column, what it holds once the row has what was decided."""
    may_change: bool = True

    @property
    def reason(self) -> str:
        return in_plain_words(self.value.reason, about=self.value.text)

    @property
    def more(self) -> int:
        """How many rows have the value beside those whose keys are named."""
        return self.value.rows - len(self.value.examples)


def rows_of(
    values: Iterable[UnconvertibleValue],
    conversion: Conversion,
    asked: Mapping[str, Decision],
    problems: Mapping[str, str],
    reads_as: Mapping[str, Mapping[str, str | None]],
) -> list[DecisionRow]:
    rows = []
    for number, value in enumerate(values):
        decision = asked.get(value.source, value.decided)
        texts = dict(decision or {})
        rows.append(
            DecisionRow(
                number,
                value,
                list(zip(conversion.decided_about, value.legacy, strict=True)),
                [Field(c, n, texts.get(c) or "") for n, c in enumerate(conversion.decides)],
                decision is not None and not any(texts.values()),
                _as_sent(conversion, value.decided),
                decision != value.decided,
                problems.get(value.source, ""),
                [
                    (json.dumps(group), f"{_as_text(group)} ({counted(number_of, 'row')})")
                    for group, number_of in value.groups
                ],
                reads_as.get(value.source, {}),
            )
        )
    return rows


def asked_in(form: QueryDict, conversion: Conversion) -> dict[str, Decision]:
    """The decisions that a form changes, by source, and the one for all that are ticked."""
    asked: dict[str, Decision] = {}
    chosen, bulk = set(form.getlist("chosen")), form.get("bulk", "")
    for name, source in form.items():
        if not name.startswith("source-") or not isinstance(source, str):
            continue
        number = name.removeprefix("source-")
        if bulk in ("set", "empty", "leave"):
            if number in chosen:
                asked[source] = _typed(form, conversion, "to", is_empty=bulk == "empty")
                if bulk == "leave":
                    asked[source] = None
            continue
        if bulk == "frequent":
            if number in chosen and (group := _group(form, conversion, f"frequent-{number}")):
                asked[source] = group
            continue
        if group := _group(form, conversion, f"group-{number}"):
            asked[source] = group
            continue
        decision = _typed(form, conversion, f"value-{number}", is_empty=f"empty-{number}" in form)
        if _as_sent(conversion, decision) != form.get(f"was-{number}"):
            asked[source] = decision
    return asked


def _group(form: QueryDict, conversion: Conversion, name: str) -> Decision:
    """A group of values that somebody chose for its key; None without a choice."""
    try:
        texts = json.loads(form.get(name, ""))
    except (ValueError, RecursionError):
        return None
    if not isinstance(texts, list) or len(texts) != len(conversion.decides):
        return None
    if not all(text is None or isinstance(text, str) for text in texts):
        return None
    return dict(zip(conversion.decides, texts, strict=True))


def _as_text(group: Iterable[str | None]) -> str:
    return ", ".join("empty" if text is None else text for text in group)


def _typed(form: QueryDict, conversion: Conversion, name: str, *, is_empty: bool) -> Decision:
    """A field that is left blank beside others stays empty; where all are, nothing is decided."""
    texts = {
        column: form.get(f"{name}-{n}", "").strip() or None
        for n, column in enumerate(conversion.decides)
    }
    if is_empty:
        return dict.fromkeys(texts)
    return texts if any(texts.values()) else None


def _as_sent(conversion: Conversion, decision: Decision) -> str:
    """A decision as a field carries it, so that what nobody changed decides nothing."""
    return json.dumps(decision and [decision.get(column) for column in conversion.decides])
