from django.http import QueryDict

from rollout.console.mapping_forms import asked_in


def taken(*suggestions: tuple[str, str], **typed: str) -> dict[str, str | None]:
    """What ticked texts become whose suggestions are all taken up; each is its own row so far.

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


def test_what_is_typed_has_the_last_word() -> None:
    assert taken(("Villas", "Villa"), villa="Country house") == {
        "villas": "Country house",
        "villa": "Country house",
    }
    assert taken(("Country house", "Villa"), villa="Country house") == {
        "country house": "Country house",
        "villa": "Country house",
    }
