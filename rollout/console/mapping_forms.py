"""The form in which texts are decided on: which are shown, what was typed, what is carried on."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar
from zlib import crc32

from django import forms
from django.http import QueryDict

from rollout.console.lists.filters import ListFilter, choice
from rollout.console.lists.pages import Order
from rollout.engine.mapping import Decision, Review, Value
from rollout.journal import labels
from rollout.logs.texts import is_storable
from rollout.queries.similar_names import Suggestion, Suggestions

# Up to this number every value is compared with all names; above it, those on the page.
MAX_COMPARED = 2000

TOO_MANY_TO_COMPARE = (
    f"More than {MAX_COMPARED:,} values are too many for suggestions. Narrow the search."
)

# Maximum values that one page can confirm: more would make it too large.
MAX_CONFIRMED = 10_000

SHOW_CHOICES = {
    "new": "New since backfill",
    "unmapped": "Unmapped",
    "unused": "Not in any row",
    "similar": "With a suggestion",
    "decided": "Reviewed",
    "open": "Not reviewed",
}
# What the buttons of the bar do with the selected values.
OF_SELECTED = ("to", "like", "none", "keep", "default")
# Percent. Lower ones also take what only begins with a name: "Condo for sale".
SIMILARITIES = (100, 95, 90, 85, 70, 50, 0)
DEFAULT_SIMILARITY = 85
ORDERS = (
    Order("most-rows", "Most rows first", "rows", descending=True),
    Order("fewest-rows", "Fewest rows first", "rows"),
    Order("a-to-z", "A–Z", "normal"),
    Order("z-to-a", "Z–A", "normal", descending=True),
)


class ValueFilter(ListFilter):
    """Which values are shown."""

    q = forms.CharField(label="Value", max_length=200, required=False)
    show = choice(SHOW_CHOICES.items(), "Show")
    why = choice(labels.REASONS.items(), "Reason")
    lookups: ClassVar = {}


@dataclass(frozen=True)
class ValueRow:
    """A value on the page, what was typed for it, and what is wrong with that.

    ``as_written`` is the name that an unmapped value would have if it became what it says.
    """

    number: int
    value: Value
    suggestion: Suggestion | None
    typed: str
    was: str
    as_written: str
    problem: str

    @property
    def is_changed(self) -> bool:
        return self.typed != self.was

    @property
    def may_change(self) -> bool:
        """A blank text means nothing, whatever people say."""
        return bool(self.value.normal)


@dataclass(frozen=True)
class SimilarityChoice:
    """How many values and rows get their suggestion from a similarity on, in percent."""

    similarity: int
    values: int
    rows: int | None


def asked_in(form: QueryDict) -> dict[str, Decision]:
    """The decisions that a form holds: those carried on, those typed, and one for all ticked."""
    asked = carried(form.get("decisions", ""))
    chosen = set(form.getlist("chosen"))
    bulk = form.get("bulk", "")
    suggested: list[str] = []
    renamed: dict[str, str] = {}
    typed: dict[str, str] = {}
    for field in form:
        if not field.startswith("form-"):
            continue
        number, text = field.removeprefix("form-"), form.get(field, "")
        name, was = form.get(f"name-{number}", "").strip(), form.get(f"was-{number}", "")
        if bulk in OF_SELECTED and number in chosen:
            asked[text] = {
                "to": Decision(form.get("to", "").strip()),
                "like": Decision(form.get(f"like-{number}", was) or None),
                "none": Decision(None),
                "default": Decision(by_default=True),
            }.get(bulk, Decision(form.get(f"as-written-{number}") or was or None))
            if bulk == "like":
                suggested.append(text)
        elif name != was:
            # An emptied field stands for no value.
            asked[text] = Decision(name or None)
            typed.setdefault(was, name)
        if text in suggested:
            renamed.setdefault(was, asked[text].name or was)
    for text in suggested:
        if wanted := asked[text].name:
            asked[text] = Decision(_followed(wanted, renamed, typed) or None)
    return asked


def _followed(name: str, renamed: dict[str, str], typed: dict[str, str]) -> str:
    """What a suggested name becomes in the same form.

    What somebody typed is the last word; of suggestions that lead in a circle the first is kept.
    """
    names = [name]
    while (further := renamed.get(names[-1], names[-1])) != names[-1]:
        if names[-1] in typed:
            break
        if further in names:
            circle = names[names.index(further) :]
            return next(known for known in renamed if known in circle)
        names.append(further)
    return typed.get(names[-1], names[-1])


def accepted(
    values: Iterable[Value], suggestions: dict[str, Suggestion], similarity: int
) -> dict[str, Decision]:
    """The suggestions at least so similar, in percent, of values that nobody has decided on.

    Where a suggested name is itself to become another, what follows it becomes that one too.
    """
    alike = {
        value.normal: (value, suggestion)
        for value in values
        if not value.reviewer
        and (suggestion := suggestions.get(value.normal)) is not None
        and suggestion.similarity >= similarity
    }
    renamed: dict[str, str] = {}
    for value, suggestion in alike.values():
        if value.name and suggestion.name:
            renamed.setdefault(value.name, suggestion.name)
    return {
        form: Decision(_followed(suggestion.name, renamed, {}) if suggestion.name else None)
        for form, (_, suggestion) in alike.items()
    }


def similarity_choices(
    values: Iterable[Value], suggestions: dict[str, Suggestion]
) -> list[SimilarityChoice]:
    """What each similarity would accept; those that accept no more than a higher one left out."""
    by_form = {value.normal: value for value in values}
    choices: list[SimilarityChoice] = []
    for similarity in SIMILARITIES:
        forms = accepted(by_form.values(), suggestions, similarity)
        rows = [by_form[form].rows for form in forms]
        if forms and (not choices or len(forms) > choices[-1].values):
            counted = None if None in rows else sum(n for n in rows if n is not None)
            choices.append(SimilarityChoice(similarity, len(forms), counted))
    return choices


def similarity_in(form: QueryDict) -> int:
    """The one that somebody chose, in percent."""
    given = form.get("similarity", "")
    offered = {str(similarity): similarity for similarity in SIMILARITIES}
    return offered.get(given, DEFAULT_SIMILARITY)


def marks_of(forms: Iterable[str]) -> str:
    """What a page carries of the values that it shows, to find those that come later."""
    return " ".join(_mark_of(form) for form in forms)


def seen_of(
    open_values: dict[str, Decision], marks: str
) -> tuple[dict[str, Decision], list[str], int]:
    """The values that a page showed, the normal forms of those that came later, and how many of
    those shown are open no more."""
    seen = set(marks.split())
    came = [form for form in open_values if _mark_of(form) not in seen]
    still_open = {form: d for form, d in open_values.items() if _mark_of(form) in seen}
    return still_open, came, len(seen) - len(still_open)


def _mark_of(form: str) -> str:
    return f"{crc32(form.encode()):08x}"


def carried(text: str) -> dict[str, Decision]:
    """What a preview passes on; nothing where somebody made it up."""
    try:
        given = json.loads(text or "[]")
        decisions = {
            str(form): Decision(None if name is None else str(name), by_default=bool(by_default))
            for form, name, by_default in given
        }
    except (ValueError, TypeError, RecursionError):
        return {}
    # JSON may escape what no text has.
    are_texts = all(is_storable(form + (d.name or "")) for form, d in decisions.items())
    return decisions if are_texts else {}


def to_carry(decisions: dict[str, Decision]) -> str:
    return json.dumps([[form, d.name, d.by_default] for form, d in decisions.items()])


def matching(
    review: Review, filters: ValueFilter
) -> tuple[list[Value], dict[str, Suggestion] | None]:
    """The values to show, and what they resemble where each was compared."""
    values, asked = review.values, filters.asked
    if words := asked.get("q", "").casefold():
        values = [
            value
            for value in values
            if words in (value.name or "").casefold()
            or any(words in spelling.text.casefold() for spelling in value.spellings)
        ]
    if why := asked.get("why"):
        values = [value for value in values if any(s.why == why for s in value.spellings)]
    suggestions = None
    if len(values) <= MAX_COMPARED:
        suggestions = Suggestions(review).of_all(values)
    match asked.get("show"):
        case "new":
            values = [value for value in values if value.is_new]
        case "unmapped":
            values = [value for value in values if value.is_unmapped]
        case "unused":
            values = [value for value in values if value.is_unused]
        case "similar":
            if suggestions is None:
                filters.add_error("show", TOO_MANY_TO_COMPARE)
            else:
                values = [value for value in values if value.normal in suggestions]
        case "decided":
            values = [value for value in values if value.reviewer]
        case "open":
            open_forms = {value.normal for value in review.open}
            values = [value for value in values if value.normal in open_forms]
    return values, suggestions


def rows_of(
    values: Iterable[Value],
    suggestions: dict[str, Suggestion],
    asked: dict[str, Decision],
    problems: dict[str, str],
) -> list[ValueRow]:
    rows = []
    for number, value in enumerate(values):
        decision = asked.get(value.normal)
        was = value.name or ""
        typed = was if decision is None or decision.by_default else decision.name or ""
        rows.append(
            ValueRow(
                number=number,
                value=value,
                suggestion=suggestions.get(value.normal),
                typed=typed,
                was=was,
                as_written=(value.proposed or "") if value.is_unmapped and not was else "",
                problem=problems.get(value.normal, ""),
            )
        )
    return rows
