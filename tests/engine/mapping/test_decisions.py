"""Decisions that cannot be."""

import pytest

from rollout.engine.mapping import CannotDecide
from rollout.engine.target import Connection
from tests.engine.mappings import (
    decide,
    meanings,
    names,
)


@pytest.mark.parametrize(
    ("decisions", "words"),
    [
        ({"": "House"}, "blank"),
        ({"Condo": "  "}, "Enter a name"),
        ({"Condo": "x" * 201}, "201 characters"),
        ({"Condo": "a\x00b"}, "NUL"),
        ({"Condo": "Flat", "CONDO ": "House"}, "Map both to the same row"),
        ({"Condo": "House", "Condop": "Condo"}, "the value “Condo” itself maps to “House”"),
        ({"Apartment": "House"}, "the value “Apartment” itself maps to “House”"),
        ({"Unspecified": "House"}, "the value “Unspecified” itself maps to “House”"),
    ],
)
def test_decisions_that_contradict_themselves_are_refused_and_change_nothing(
    mapped: Connection, decisions: dict[str, str | None], words: str
) -> None:
    before = (meanings(mapped), names(mapped))
    with pytest.raises(CannotDecide, match=words):
        decide(mapped, decisions)
    assert (meanings(mapped), names(mapped)) == before
