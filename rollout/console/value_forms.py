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
from rollout.logs.texts import counted, is_storable
from rollout.plan.conversions import Conversion

# What the buttons of the bar do with the selected values.
OF_SELECTED = ("set", "empty", "leave", "frequent")
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
    """What a new column is to hold: its name, its field's number, the text typed or decided, and
    what is wrong with that."""

    column: str
    number: int
    text: str
    problem: str


@dataclass(frozen=True)
class DecisionRow:
    """A value on the page, and what was typed for it."""

    number: int
    value: UnconvertibleValue
    legacy: list[tuple[str, str | None]]
    fields: list[Field]
    is_empty: bool
    was: str
    is_changed: bool
    groups: list[tuple[str, str]]
    """Of a key in conflict, each group of values as the form sends it, and as people read it."""
    reads_as: Mapping[str, str | None]
    """By legacy column, what it holds once the row has what was decided."""
    may_change: bool = True

    @property
    def reason(self) -> str:
        return in_plain_words(self.value.reason, about=self.value.text)


def rows_of(
    values: Iterable[UnconvertibleValue],
    conversion: Conversion,
    asked: Mapping[str, Decision],
    problems: Mapping[str, Mapping[str, str]],
    reads_as: Mapping[str, Mapping[str, str | None]],
) -> list[DecisionRow]:
    rows = []
    for number, value in enumerate(values):
        decision = asked.get(value.source, value.decided)
        texts, wrong = dict(decision or {}), problems.get(value.source, {})
        rows.append(
            DecisionRow(
                number,
                value,
                list(zip(conversion.decided_about, value.legacy, strict=True)),
                [
                    Field(column, n, texts.get(column) or "", wrong.get(column, ""))
                    for n, column in enumerate(conversion.decides)
                ],
                decision is not None and not any(texts.values()),
                _as_sent(conversion, value.decided),
                decision != value.decided,
                [
                    (json.dumps(group), f"{_as_text(group)} ({counted(number_of, 'row')})")
                    for group, number_of in value.groups
                ],
                reads_as.get(value.source, {}),
            )
        )
    return rows


def asked_in(form: QueryDict, conversion: Conversion) -> dict[str, Decision]:
    """The decisions that a form holds, by source: those carried on, those typed, and one for all
    that are ticked."""
    asked = carried(form.get("decisions", ""), conversion)
    chosen, bulk = set(form.getlist("chosen")), form.get("bulk", "")
    for name, source in form.items():
        if not name.startswith("source-") or not isinstance(source, str):
            continue
        number = name.removeprefix("source-")
        if number in chosen and bulk in OF_SELECTED:
            decision = _of_selected(form, conversion, bulk, number)
            if decision is not None or bulk == "leave":
                asked[source] = decision
                continue
        decision = _group(form, conversion, f"group-{number}") or _typed(
            form, conversion, f"value-{number}", is_empty=f"empty-{number}" in form
        )
        if _as_sent(conversion, decision) != form.get(f"was-{number}"):
            asked[source] = decision
    return asked


def _of_selected(form: QueryDict, conversion: Conversion, bulk: str, number: str) -> Decision:
    """What a button of the bar decides about a value that is ticked; None to take it back, or
    where nothing was entered."""
    if bulk == "leave":
        return None
    if bulk == "frequent":
        return _group(form, conversion, f"frequent-{number}")
    return _typed(form, conversion, "to", is_empty=bulk == "empty")


def carried(text: str, conversion: Conversion) -> dict[str, Decision]:
    """What a preview passes on; nothing where somebody made it up."""
    try:
        given = json.loads(text or "{}")
        return {
            source: None if texts is None else _decision_of(texts, conversion)
            for source, texts in given.items()
        }
    except (ValueError, AttributeError, RecursionError):
        return {}


def to_carry(decisions: Mapping[str, Decision], conversion: Conversion) -> str:
    return json.dumps({source: _sent(conversion, d) for source, d in decisions.items()})


def _group(form: QueryDict, conversion: Conversion, name: str) -> Decision:
    """A group of values that somebody chose for its key; None without a choice."""
    try:
        return _decision_of(json.loads(form.get(name, "")), conversion)
    except (ValueError, RecursionError):
        return None


def _decision_of(texts: object, conversion: Conversion) -> Decision:
    """Raises ValueError where no form of ours has sent these texts."""
    if not isinstance(texts, list) or len(texts) != len(conversion.decides):
        raise ValueError(texts)
    # JSON may escape what no text has.
    if not all(text is None or (isinstance(text, str) and is_storable(text)) for text in texts):
        raise ValueError(texts)
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
    return json.dumps(_sent(conversion, decision))


def _sent(conversion: Conversion, decision: Decision) -> list[str | None] | None:
    return None if decision is None else [decision.get(column) for column in conversion.decides]
