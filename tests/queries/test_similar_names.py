"""Suggestions name what a text resembles, for a person to judge."""

import pytest

from rollout.engine.mapping import Review, Spelling, Value
from rollout.queries.similar_names import Suggestions


def value(text: str, rows: int, *, name: str | None = None, why: str = "exact") -> Value:
    return Value(normal=text.lower(), spellings=[Spelling(text, rows, why)], name=name or text)


def suggestion(values: list[Value], text: str) -> str | None:
    review = Review(values, sorted({v.name for v in values if v.name}), True, True)
    match = Suggestions(review).of_all(values).get(text.lower())
    return f"{match.name}: {match.why}" if match else None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("House for sale", "House: starts with it"),
        ("HOUSE!", "House: same words"),
        ("Town house", "Townhouse: look-alike"),
        ("House boat", "Houseboat: look-alike"),
        ("Townhuose", "Townhouse: 89 % alike"),
        ("Coop", "Co-op: 89 % alike"),
        ("Castle", None),
        ("House", None),
        ("Townhouse", None),
        ("Household", None),
        ("???", None),
    ],
)
def test_a_text_is_like_what_it_begins_with_or_is_spelt_like(
    text: str, expected: str | None
) -> None:
    known = [value("House", 100), value("Townhouse", 90), value("Co-op", 80)]
    known.append(value("Houseboat", 70))
    others = [] if text in {"House", "Townhouse"} else [value(text, 3)]
    assert suggestion([*known, *others], text) == expected


def test_the_rarer_of_two_similar_names_gets_the_suggestion() -> None:
    values = [value("Condop", 5), value("Condo", 870)]
    assert suggestion(values, "Condop") == "Condo: 91 % alike"
    assert suggestion(values, "Condo") is None


def test_a_name_with_another_number_is_not_suggested() -> None:
    known = [value(f"Unit house {number}", 870) for number in (74, 41, 14, 40)]
    values = [*known, value("Unit house 4", 5), value("Unit hause 74", 3)]
    assert suggestion(values, "Unit house 4") is None
    assert suggestion(values, "Unit hause 74") == "Unit house 74: 92 % alike"
    assert suggestion([value("Condo", 9), value("Condp1", 5)], "Condp1") is None
    assert suggestion([value("Condo", 9), value("Condo1", 5)], "Condo1") == "Condo: 91 % alike"


def test_the_rarer_name_resembles_the_more_frequent_if_only_signs_differ() -> None:
    values = [value("Haus", 1700), value("{Haus}", 4), value("Haus neu", 2)]
    assert suggestion(values, "{Haus}") == "Haus: same words"
    assert suggestion(values, "Haus neu") == "Haus: starts with it"
    assert suggestion(values, "Haus") is None
    assert suggestion([value("-", 16), value("?", 6)], "?") is None


@pytest.mark.parametrize("why", ["decided", "no_value", "synonym", "blank"])
def test_decisions_of_people_and_plan_get_no_suggestion(why: str) -> None:
    values = [value("Condo", 870), value("Condop", 5, why=why)]
    assert suggestion(values, "Condop") is None


def test_the_longest_name_that_a_text_begins_with_counts() -> None:
    values = [value("Multi", 9), value("Multi-family", 5), value("Multi-family home", 3)]
    assert suggestion(values, "Multi-family home") == "Multi-family: starts with it"


def test_most_frequent_of_too_many_names_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    from rollout.queries import similar_names

    known = [value("House", 100), value("Townhouse", 90), value("Co-op", 80)]
    typed = [value("Townhuose", 3), value("Coop", 3)]
    monkeypatch.setattr(similar_names, "MAX_NAMES", 2)
    assert suggestion([*known, *typed], "Townhuose") == "Townhouse: 89 % alike"
    assert suggestion([*known, *typed], "Coop") is None


def test_short_codes_get_no_suggestion_and_placeholders_the_one_of_no_value() -> None:
    values = [value("h", 9), value("h;u", 2), value("u", 4), value("ub", 1), value("N/A", 3)]
    assert {text: suggestion(values, text) for text in ("h", "h;u", "ub")} == dict.fromkeys(
        ("h", "h;u", "ub")
    )
    assert suggestion(values, "N/A") == ": placeholder"
