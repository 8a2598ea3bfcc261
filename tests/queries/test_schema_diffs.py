"""A schema beside what its plan expects, and beside another one: each difference once."""

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.plan.catalog import Catalog, Part
from rollout.plan.expected_catalogs import expected, known_parts
from rollout.queries.schema_diffs import Schema, State, against, against_plan, differences
from tests.engine.samples import BIGINT

PLAN = BIGINT.plan
KIND = Part("column", "kind")
MIRRORED: dict[State, State] = {"missing": "unexpected", "unexpected": "missing"}


def schema(live: Catalog, done: int = 2) -> Schema:
    return Schema(PLAN, "production", done, None, live)


@pytest.mark.parametrize("done", range(6))
def test_a_schema_as_expected_has_no_part_that_differs(done: int) -> None:
    tables = against_plan(schema(expected(PLAN, done), done))
    assert {table.table for table in tables} == set(expected(PLAN, done).tables)
    assert not any(table.differs for table in tables)


@pytest.mark.parametrize(
    ("live", "state"), [("integer", "different"), ("", "missing"), (None, "own")]
)
def test_a_part_that_is_other_than_expected_is_the_one_that_differs(
    live: str | None, state: State
) -> None:
    catalog = deepcopy(expected(PLAN, 2))
    part = KIND
    if live is None:
        part = Part("column", "of_its_own")
        catalog.tables["things"][part] = "text"
    elif live:
        catalog.tables["things"][part] = live
    else:
        del catalog.tables["things"][part]
    rows = [row for table in against_plan(schema(catalog)) for row in table.rows]
    (row,) = (row for row in rows if row.state != "same")
    assert ((row.kind, row.name), row.state) == (part, state)
    assert row.differs == (state != "own")


@given(st.data())
def test_two_schemas_differ_in_the_same_parts_seen_from_the_other_side(data: st.DataObject) -> None:
    left, right = deepcopy(expected(PLAN, 2)), deepcopy(expected(PLAN, 2))
    parts = sorted(known_parts(PLAN))
    for catalog in (left, right):
        for table, part in data.draw(st.lists(st.sampled_from(parts), max_size=3)):
            catalog.tables.setdefault(table, {})[part] = data.draw(st.sampled_from(["a", "b"]))
    for catalog in (left, right):
        if data.draw(st.booleans()):
            catalog.tables.pop("kinds", None)
    here, there = schema(left), schema(right)
    states = {(t.table, r.kind, r.name): r.state for t in against(here, there) for r in t.rows}
    back = {(t.table, r.kind, r.name): r.state for t in against(there, here) for r in t.rows}
    assert {key: MIRRORED.get(state, state) for key, state in states.items()} == back
    assert len(differences(here, there)) == len(differences(there, here))
    assert bool(differences(here, there)) == any(t.differs for t in against(here, there))
