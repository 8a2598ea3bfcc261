from django.http import QueryDict

from rollout.console.mapping_forms import (
    SimilarityChoice,
    accepted,
    asked_in,
    similarity_choices,
)
from rollout.engine.mapping import Spelling, Value
from rollout.queries.similar_names import Suggestion


def test_a_spelling_that_came_after_the_count_leaves_the_others_rows_counted() -> None:
    spellings = [Spelling("Condo", 5, "exact"), Spelling("cONDO", None, "case")]
    assert Value("condo", spellings, name="Condo").rows == 5
    unused = Value("loft", [Spelling("Loft", 0, "exact")], name="Loft")
    assert (unused.rows, unused.is_unused) == (0, True)
    unused = Value("loft", [*unused.spellings, Spelling("loft", None, "case")], name="Loft")
    assert (unused.rows, unused.is_unused) == (0, False), "the new one may have rows"
    assert Value("loft", spellings[1:], name="Loft").rows is None


def taken(*suggestions: tuple[str, str], **typed: str) -> dict[str, str | None]:
    """What ticked texts become whose suggestions are all accepted; each is its own row so far.

    Others are typed into, by their lower case.
    """
    form = QueryDict(mutable=True)
    form["bulk"] = "like"
    for number, (text, like) in enumerate(suggestions):
        form[f"form-{number}"] = text.lower()
        form[f"was-{number}"] = form[f"name-{number}"] = text
        form[f"like-{number}"] = like
        form.appendlist("chosen", str(number))
    for text, name in typed.items():
        form[f"form-{text}"], form[f"was-{text}"], form[f"name-{text}"] = text, text.title(), name
    return {text: decision.name for text, decision in asked_in(form).items()}


def test_a_suggestion_that_is_itself_led_elsewhere_is_followed_to_the_end() -> None:
    assert taken(
        ("Condop for sale", "Condo for sale"),
        ("Condo for sale", "Condo"),
        ("Town house", "Townhouse"),
    ) == {"condop for sale": "Condo", "condo for sale": "Condo", "town house": "Townhouse"}


def test_circular_suggestions_keep_the_first_text() -> None:
    assert taken(("Barn 3", "Barn 37"), ("Barn 37", "Barn 3"), ("Barn", "Barn 37")) == {
        "barn 3": "Barn 3",
        "barn 37": "Barn 3",
        "barn": "Barn 3",
    }


def test_typed_input_has_the_last_word() -> None:
    assert taken(("Villas", "Villa"), villa="Country house") == {
        "villas": "Country house",
        "villa": "Country house",
    }
    assert taken(("Country house", "Villa"), villa="Country house") == {
        "country house": "Country house",
        "villa": "Country house",
    }


def value(text: str, rows: int = 1, reviewer: str = "") -> Value:
    return Value(text.lower(), [Spelling(text, rows, "exact")], name=text, reviewer=reviewer)


def test_accepting_from_a_similarity_on_follows_a_suggestion_and_leaves_decisions_alone() -> None:
    values = [value("Condop"), value("Condo s"), value("Condo", reviewer="ada"), value("n/a")]
    suggestions = {
        "condop": Suggestion("Condo s", "92 % alike", 92),
        "condo s": Suggestion("Condo", "88 % alike", 88),
        "condo": Suggestion("House", "99 % alike", 99),
        "n/a": Suggestion("", "placeholder"),
    }
    names = {
        similarity: {f: d.name for f, d in accepted(values, suggestions, similarity).items()}
        for similarity in (85, 90)
    }
    assert names == {
        85: {"condop": "Condo", "condo s": "Condo", "n/a": None},
        90: {"condop": "Condo s", "n/a": None},
    }


def test_a_choice_of_similarity_counts_values_and_rows_and_none_is_offered_twice() -> None:
    values = [value("Condop", 5), value("n/a", 3)]
    suggestions = {
        "condop": Suggestion("Condo", "91 % alike", 91),
        "n/a": Suggestion("", "placeholder"),
    }
    assert similarity_choices(values, suggestions) == [
        SimilarityChoice(100, 1, 3),
        SimilarityChoice(90, 2, 8),
    ]
