"""Repairs of whatever was planted, against a plain model of them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from rollout.engine.repair import count
from rollout.engine.target import Connection, Target
from rollout.plan.names import in_target
from tests.engine.actions import do_until
from tests.engine.repairs import (
    COLUMNS,
    KIND_MAPPING,
    KINDS,
    MADE,
    PLAN,
    STATE_MAPPING,
    STATES,
    carry_out,
    cast_doubt,
    everything,
    quietly,
    repairing,
)
from tests.engine.samples import BIGINT
from tests.support.bare_databases import clear


@dataclass
class Row:
    kind: str | None
    state: str | None
    damage: str
    values: tuple[Any, ...] = ()


class Model:
    """What a row is to become when all that can be repaired is, in plain Python."""

    def __init__(self, connection: Connection) -> None:
        self.kinds = _mapping(connection, "kind", blank="Unspecified")
        self.states = _mapping(connection, "state", blank=None)

    def repaired(self, row: Row) -> tuple[Any, ...] | None:
        """The row's values afterwards, None where it is not to be written at all."""
        kind, state = self.kinds.get(row.kind or ""), self.states.get(row.state or "")
        if kind is None or state is None:
            # A text that is new to the mapping: nobody has said what it becomes.
            return None
        is_open = (row.state or "").strip(" ").lower() == "open"
        derived = (is_open, MADE if is_open else None)
        kind_id, state_id, *_ = row.values
        right = (
            kind.becomes if kind.known else kind_id,
            state.becomes if state.known else state_id,
            *derived,
        )
        if right == row.values:
            return None
        if right[0] is None:
            # The row still counts as unfilled: the dual write translates it as any other write.
            return (kind.becomes, state.becomes, *derived)
        return right


@dataclass
class Mapped:
    becomes: int | None
    known: bool


def _mapping(connection: Connection, what: str, *, blank: str | None) -> dict[str, Mapped]:
    lookup = KINDS if what == "kind" else STATES
    rows = connection.execute(
        sql.SQL("SELECT legacy, normal, lookup_id, why FROM {}").format(
            in_target(lookup.mapping_name(PLAN.name))
        )
    ).fetchall()
    leads_to: dict[str, set[int]] = {}
    for _, form, id_, _ in rows:
        leads_to.setdefault(form, set()).update({id_} - {None})
    return {
        text: Mapped(
            id_,
            known=(form == "" or len(leads_to[form]) < 2)
            and (id_ is not None or why == "no_value" or (blank is None and form == "")),
        )
        for text, form, id_, why in rows
    }


TEXTS = st.none() | st.sampled_from(
    ["House", "house", " HOUSE ", "Flat", "", " ", "open", "Open ", "y" * 300, "it's", '"', "été"]
)
DAMAGES = st.sampled_from(
    ["none", "none", "clear", "other", "orphan", "wrong derived", "no derived", "unexpected time"]
)


@pytest.fixture(scope="module")
def watched(target: Target, module_connection: Connection) -> Connection:
    """An empty table with its mapping and the dual write."""
    clear(module_connection)
    BIGINT.create(module_connection)
    do_until(target, module_connection, PLAN, "dual-write")
    return module_connection


def planted(connection: Connection, rows: list[Row], model: Model) -> None:
    for number, row in enumerate(rows):
        kind_id, state_id, is_open, opened_at = BIGINT.row(connection, number, *COLUMNS)
        match row.damage:
            case "clear":
                kind_id = state_id = None
            case "other":
                kinds = [m.becomes for m in model.kinds.values()]
                states = [m.becomes for m in model.states.values()]
                kind_id = next((id_ for id_ in kinds if id_ not in (None, kind_id)), None)
                state_id = next((id_ for id_ in states if id_ != state_id), None)
            case "orphan":
                kind_id = 987_654
            case "wrong derived":
                is_open = not is_open
            case "no derived":
                is_open = opened_at = None
            case "unexpected time":
                opened_at = datetime(2000, 1, 1, tzinfo=UTC)
        row.values = (kind_id, state_id, is_open, opened_at)
        quietly(connection, BIGINT, number, **dict(zip(COLUMNS, row.values, strict=True)))


@settings(max_examples=40)
@given(
    rows=st.lists(st.builds(Row, TEXTS, TEXTS, DAMAGES), min_size=1, max_size=9),
    doubt=st.lists(st.sampled_from(["unmapped", "new", "no value", "astray", "none"]), max_size=2),
)
def test_whatever_was_planted_is_repaired_as_a_plain_model_says_and_no_other_row_is_written(
    watched: Connection, rows: list[Row], doubt: list[str]
) -> None:
    connection = watched
    connection.execute(
        sql.SQL("TRUNCATE things, kinds, states, {}, {}").format(KIND_MAPPING, STATE_MAPPING)
    )
    for number, row in enumerate(rows):
        BIGINT.insert(connection, number, kind=row.kind, state=row.state)
    for text, what in zip([rows[0].kind or "", rows[-1].kind or ""], doubt, strict=False):
        cast_doubt(connection, text, what)
    model = Model(connection)
    planted(connection, rows, model)
    before = everything(connection)
    expected = {number: model.repaired(row) for number, row in enumerate(rows)}
    repair = repairing()
    counted = count(connection, repair)

    written = carry_out(connection, repair)

    after = everything(connection)
    for number, row in enumerate(rows):
        values = BIGINT.row(connection, number, *COLUMNS)
        if expected[number] is None:
            assert after[number,] == before[number,]
            assert values == row.values
        else:
            assert values == expected[number]
    touched = sum(values is not None for values in expected.values())
    assert written == counted.writable == touched
    assert count(connection, repairing()).writable == 0
