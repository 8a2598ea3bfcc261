"""Texts of dropped columns, brought back by the rollback of the last phase."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.engine.target import Connection, Target
from tests.engine.actions import act, audit, do_phase, undo_phase
from tests.engine.samples import BIGINT
from tests.support.bare_databases import clear

pytestmark = pytest.mark.slow

TEXT = st.none() | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30
)


@settings(max_examples=6)
@given(rows=st.lists(st.tuples(TEXT, TEXT), max_size=12))
def test_texts_of_any_kind_come_back_from_the_last_phase(
    module_connection: Connection, target: Target, rows: list[tuple[str | None, str | None]]
) -> None:
    connection = module_connection
    clear(connection)
    BIGINT.create(connection)
    for number, (kind, state) in enumerate(rows):
        BIGINT.insert(connection, number, kind=kind, state=state)
    texts = BIGINT.texts(connection)
    for number in range(5):
        do_phase(target, connection, BIGINT.plan, number)
    for number in reversed(range(5)):
        undo_phase(target, connection, BIGINT.plan, number)
    assert BIGINT.texts(connection) == texts


def test_rows_written_without_legacy_columns_come_back_with_the_names_of_their_lookup_rows(
    target: Target, connection: Connection, app: Connection
) -> None:
    BIGINT.create(connection)
    BIGINT.insert(connection, 1, kind=" house", state="OPEN")
    BIGINT.insert(connection, 2, kind="FLAT ", state="  ")
    BIGINT.insert(connection, 3, kind="", state="sold")
    for number in range(5):
        do_phase(target, connection, BIGINT.plan, number)
    castle = BIGINT.lookup_id(app, "Castle")
    BIGINT.update(app, 2, kind_id=castle)
    BIGINT.update(app, 3, state_id=BIGINT.lookup_id(app, "let", BIGINT.state))
    BIGINT.insert(app, 4, kind_id=castle, is_open=False)
    BIGINT.insert(
        app, 5, kind_id=BIGINT.lookup_id(app, "Unspecified"), state_id=None, is_open=False
    )
    BIGINT.delete(app, 1)
    undo_phase(target, connection, BIGINT.plan, 4)
    assert BIGINT.texts(connection) == {
        (2,): ("Castle", "  "),
        (3,): ("", "let"),
        (4,): ("Castle", None),
        (5,): (None, None),
    }
    assert audit(target, BIGINT.plan).mismatches == []


def test_texts_written_between_freezing_and_dropping_keep_their_spelling(
    target: Target, connection: Connection, app: Connection
) -> None:
    """A drop may be a long time coming when its lock is not to be had."""
    BIGINT.create(connection)
    BIGINT.insert(connection, 1, kind="House", state="sold")
    BIGINT.insert(connection, 2, kind="HOUSE", state="sold")
    for number in range(4):
        do_phase(target, connection, BIGINT.plan, number)
    flat = BIGINT.lookup_id(app, "Flat")
    *before, drop, _index, _feature = BIGINT.plan.phases[4].steps
    for step in before:
        for action in BIGINT.plan.forward(step).actions:
            act(target, connection, BIGINT.plan, 4, action)
    BIGINT.update(app, 1, kind_id=flat)
    BIGINT.insert(app, 3, kind_id=flat, kind="FLAT")
    written = BIGINT.texts(connection)
    for action in (*BIGINT.plan.forward(drop).actions, *BIGINT.plan.backward(drop).actions):
        act(target, connection, BIGINT.plan, 4, action)
    assert BIGINT.texts(connection) == written
