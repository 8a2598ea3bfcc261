"""What a schema requires: NOT NULL and foreign keys, and when."""

import psycopg
import pytest

from rollout.engine.catalog import live_columns
from rollout.engine.target import Connection, Target
from tests.engine.actions import act, do_phase, undo_phase
from tests.engine.samples import DIRTY, REQUIRED, SAMPLES, Sample
from tests.engine.test_every_phase import fill_with_dirt, schema_of

pytestmark = pytest.mark.slow


def test_a_legacy_column_that_is_not_null_stays_so_until_it_is_dropped_and_is_so_again(
    target: Target, connection: Connection, app: Connection
) -> None:
    REQUIRED.create(connection)
    for number, kind in enumerate(DIRTY):
        REQUIRED.insert(connection, number, kind=(kind or "")[:24], state=(kind or "")[:24])
    schema, texts = schema_of(target), REQUIRED.texts(connection)
    for number in range(4):
        do_phase(target, connection, REQUIRED.plan, number)
    castle = REQUIRED.lookup_id(app, "Castle")
    with pytest.raises(psycopg.errors.StringDataRightTruncation):
        REQUIRED.lookup_id(app, "A name that the legacy column could not take")
    # An application that knows the new columns alone.
    REQUIRED.insert(app, 101, kind_id=castle)
    REQUIRED.insert(app, 102)
    REQUIRED.insert(app, 106, kind_id=REQUIRED.lookup_id(app, "Unspecified"))
    REQUIRED.update(app, 1, kind_id=castle, state_id=None)
    written = {(101,): ("Castle", ""), (102,): ("", ""), (106,): ("", ""), (1,): ("Castle", "")}
    assert REQUIRED.texts(app) == texts | written
    *before, drop, _index, _feature = REQUIRED.plan.phases[4].steps
    for step in before:
        for action in REQUIRED.plan.forward(step).actions:
            act(target, connection, REQUIRED.plan, 4, action)
    REQUIRED.insert(app, 103)
    REQUIRED.insert(app, 104, kind_id=castle)
    for action in REQUIRED.plan.forward(drop).actions:
        act(target, connection, REQUIRED.plan, 4, action)
    REQUIRED.insert(app, 105, kind_id=castle, is_open=False)
    written |= {(103,): ("", ""), (104,): ("Castle", ""), (105,): ("Castle", "")}
    for number in reversed(range(5)):
        undo_phase(target, connection, REQUIRED.plan, number)
    assert schema_of(target) == schema
    assert REQUIRED.texts(connection) == texts | written


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_the_third_phase_leaves_each_foreign_key_valid_and_what_is_required_not_null(
    sample: Sample, target: Target, connection: Connection
) -> None:
    sample.create(connection)
    fill_with_dirt(sample, connection)
    for number in range(4):
        do_phase(target, connection, sample.plan, number)
    keys = connection.execute(
        "SELECT a.attname FROM pg_constraint c JOIN pg_attribute a"
        " ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]"
        " WHERE c.contype = 'f' AND c.convalidated"
    ).fetchall()
    assert {column for (column,) in keys} == {sample.kind.column, sample.state.column}
    required = sample.plan.shape(4)[sample.table.label]
    live = live_columns(connection, [sample.table.label])[sample.table.label]
    assert {name for name, column in required.items() if not column.null} <= {
        name for name, column in live.items() if not column.null
    }
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        sample.update(connection, 0, state_id=987_654)
