"""Extract on tables with each kind of key: forward, back, and nothing of it remains."""

import pytest

from rollout import plan as r
from rollout.engine.target import Target
from tests.plan.keyed_tables import KEYED, Keyed, goes_there_and_back
from tests.schemas import MakeScenario, Scenario, plan_of

pytestmark = pytest.mark.slow

LEGACY = ("Agent %", "e-mail")


def agents_of(keyed: Keyed) -> r.Extract:
    """Agents by their addresses; one has two names."""
    return r.Extract(
        table=keyed.table,
        legacy=LEGACY,
        into="Ag {ents}",
        column="agent id",
        key=("e-mail",),
        columns={"Agent %": "select"},
        conflicts="most_frequent",
        id_type="integer",
    )


def own_rows_of(keyed: Keyed) -> r.Extract:
    """A row of its own for each."""
    (key,) = keyed.columns
    return r.Extract(
        table=keyed.table,
        legacy=LEGACY,
        into="Ag {ents}",
        column="agent id",
        key=(key,),
        columns={"Agent %": "select"},
    )


# Others go all the way in the tests of extractions and of own rows.
EXTRACTS = {
    **{f"{kind}, groups": (kind, agents_of) for kind in ("text", "partitioned uuid", "composite")},
    **{f"{kind}, own rows": (kind, own_rows_of) for kind in ("text", "partitioned uuid")},
}


@pytest.mark.parametrize("name", EXTRACTS)
def test_an_extraction_goes_forward_and_back_whatever_the_key_is(
    scenario: MakeScenario, server: Target, name: str
) -> None:
    kind, extract_of = EXTRACTS[name]
    keyed, extract = KEYED[kind], extract_of(KEYED[kind])
    offers = scenario(keyed.sql, plan_of(extract))
    expected = 60 if extract.is_split else 4

    def both_write_and_every_group_has_a_row() -> None:
        assert offers.application('SELECT count(*) FROM "Ag {ents}"') == [(expected,)]
        both_write(offers, keyed)

    goes_there_and_back(offers, keyed, both_write_and_every_group_has_a_row)


def both_write(offers: Scenario, keyed: Keyed) -> None:
    """Each release writes rows of its own, the other side follows, and the texts come back."""
    offers.application('UPDATE "Ag {ents}" SET "select" = \'New\' WHERE "e-mail" = \'a1@x\'')
    legacy = f'SELECT DISTINCT "Agent %" FROM {keyed.quoted} WHERE "e-mail" = \'a1@x\''
    assert offers.application(legacy) == [("New",)]
    offers.application(
        f"UPDATE {keyed.quoted} SET \"Agent %\" = 'Agent 1' WHERE \"e-mail\" = 'a1@x'"
    )
    new = 'SELECT DISTINCT "select" FROM "Ag {ents}" WHERE "e-mail" = \'a1@x\''
    assert offers.application(new) == [("Agent 1",)]
