"""What legacy texts there are, what each means or will mean, and which are new."""

from rollout.engine import mapping
from rollout.engine.mapping import Decision
from rollout.engine.target import Connection, Target
from tests.engine.actions import audit, do_until
from tests.engine.mappings import (
    KIND,
    PLAN,
    STATE,
    decide,
    meanings,
    name_of,
    new_texts,
    review_of,
    whys,
)


def test_before_there_is_a_mapping_a_review_proposes_what_phase_2_will_do(
    target: Target, unmapped: Connection
) -> None:
    proposed, reasons = meanings(unmapped), whys(unmapped)
    assert proposed == {
        "House": "House",
        " house": "House",
        "House for sale": "House for sale",
        "apt": "Apartment",
        "Condo": "Condo",
        "Condop": "Condop",
        "": "Unspecified",
    }
    assert reasons == {
        "House": "exact",
        " house": "case",
        "House for sale": "exact",
        "apt": "synonym",
        "Condo": "exact",
        "Condop": "exact",
        "": "blank",
    }
    do_until(target, unmapped, PLAN, "map-values")
    assert meanings(unmapped) == proposed
    assert whys(unmapped) == reasons


def test_an_unknown_text_is_left_without_a_value_where_the_plan_says_so(
    target: Target, mapped: Connection
) -> None:
    assert name_of(mapped, "Leased", column="state") is None
    assert audit(target, PLAN).categories["unmapped"] == 1
    number, texts = new_texts(mapped, STATE)
    assert (number, texts[0].text, texts[0].why) == (1, "Leased", "unmapped")
    mapping.decide(mapped, PLAN, STATE, {"leased": Decision("Let")}, reviewer="grace", keep=True)
    assert new_texts(mapped, STATE) == (0, [])
    assert name_of(mapped, "LEASED", column="state") == "Let"


def test_a_text_that_came_later_is_new_until_somebody_decides_and_a_spelling_is_not(
    mapped: Connection,
) -> None:
    name_of(mapped, "HOUSE")
    assert new_texts(mapped, KIND) == (0, [])
    name_of(mapped, "Castle")
    number, texts = new_texts(mapped, KIND)
    assert (number, texts[0].text, texts[0].name) == (1, "Castle", "Castle")
    outcome = decide(mapped, {"Castle": "Castle"})
    assert (outcome.changes, outcome.decided) == ([], 1)
    assert new_texts(mapped, KIND) == (0, [])


def test_spellings_that_go_together_have_one_name_before_a_change_as_the_review_shows(
    unmapped: Connection,
) -> None:
    (value,) = (v for v in review_of(unmapped).values if v.normal == "house")
    assert len(value.spellings) > 1
    changes = decide(unmapped, {"house": "Home"}, keep=False).changes
    assert {change.before for change in changes} == {value.name}
    assert len(changes) == len(value.spellings)
