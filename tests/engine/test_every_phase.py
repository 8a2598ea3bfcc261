"""Whole rollouts, all phases forward and back, without a journal: nothing of it remains."""

import os
from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config import embedded
from properties.rollout import PLAN
from rollout.engine.catalog import live_columns
from rollout.engine.target import Connection, Target, install
from rollout.plan import Plan
from tests.engine.actions import act, audit, do_phase, undo_phase
from tests.engine.samples import BIGINT, DIRTY, REQUIRED, SAMPLES, Sample
from tests.support.bare_databases import clear, new_database
from tests.support.processes import completed

pytestmark = pytest.mark.slow

TEXT = st.none() | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30
)


def schema_of(target: Target) -> list[str]:
    """The lines of a dump of everything but the engine's own, whatever the order of columns."""
    return _dumped([], {**os.environ, **target.environment})


def whole_schema_of(target: Target) -> list[str]:
    """The same with what the engine keeps there."""
    return _dumped([], {**os.environ, **target.environment}, besides="")


def schema_lines(url: str) -> list[str]:
    """The same of the database that an address names."""
    return _dumped([url], dict(os.environ))


def _dumped(database: list[str], environ: dict[str, str], *, besides: str = "rollout") -> list[str]:
    pg_dump = embedded.program("pg_dump")
    if not pg_dump.exists():
        pytest.skip("there is no pg_dump of the embedded PostgreSQL")
    dump = completed(
        [pg_dump, "--schema-only", "--no-owner", f"--exclude-schema={besides}", *database],
        env=environ,
        check=True,
    ).stdout
    return sorted(
        line.strip().rstrip(",")
        for line in dump.splitlines()
        if line and not line.startswith(("--", "\\"))
    )


def fill_with_dirt(sample: Sample, connection: Connection) -> None:
    for number, kind in enumerate(DIRTY):
        sample.insert(connection, number, kind=kind, state=DIRTY[-1 - number])


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_four_phases_and_back_leave_the_schema_and_every_text_as_they_were(
    sample: Sample, target: Target, connection: Connection
) -> None:
    sample.create(connection)
    fill_with_dirt(sample, connection)
    schema, texts = schema_of(target), sample.texts(connection)
    for number in range(5):
        do_phase(target, connection, sample.plan, number)
    assert audit(target, sample.plan).rows == len(DIRTY)
    for number in reversed(range(5)):
        undo_phase(target, connection, sample.plan, number)
    assert schema_of(target) == schema
    assert sample.texts(connection) == texts


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


@pytest.mark.parametrize("last", range(5))
def test_a_phase_and_its_rollback_leave_the_schema_and_the_texts_as_they_were(
    last: int, target: Target, connection: Connection
) -> None:
    BIGINT.create(connection)
    fill_with_dirt(BIGINT, connection)
    for number in range(last):
        do_phase(target, connection, BIGINT.plan, number)
    schema = schema_of(target)
    texts = BIGINT.texts(connection)
    do_phase(target, connection, BIGINT.plan, last)
    undo_phase(target, connection, BIGINT.plan, last)
    assert schema_of(target) == schema
    assert BIGINT.texts(connection) == texts
    do_phase(target, connection, BIGINT.plan, last)


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


class TestTheShippedPlan:
    @pytest.fixture
    def shipped(self, template: str) -> Iterator[tuple[Target, Connection]]:
        """A copy of the migrated database, with dirty listings in it."""
        with new_database(template) as target, target.connect() as connection:
            install(connection)
            for number, text in enumerate(DIRTY):
                connection.execute(
                    "INSERT INTO properties (id, title, description, address, city, postal_code,"
                    " type, status, created_at, updated_at)"
                    " VALUES (%s, 'T', '', '', 'Köln', '', %s, %s, now(), now())",
                    [UUID(int=number), text, DIRTY[-1 - number]],
                )
            yield target, connection

    def test_a_plan_goes_to_its_last_phase_and_back_without_a_trace(
        self, shipped: tuple[Target, Connection]
    ) -> None:
        target, connection = shipped
        schema, data = schema_of(target), self.data(connection)
        for number in range(5):
            do_phase(target, connection, PLAN, number)
        counted = connection.execute(
            "SELECT sum(listings) FROM property_listing_counts WHERE city IS NULL"
        ).fetchone()
        assert counted == (len(DIRTY),)
        for number in reversed(range(5)):
            undo_phase(target, connection, PLAN, number)
        assert schema_of(target) == schema
        assert self.data(connection) == data

    def test_every_statement_is_found_applied_when_a_step_is_done_a_second_time(
        self, shipped: tuple[Target, Connection]
    ) -> None:
        target, connection = shipped
        again = [
            step.id
            for number, phase in enumerate(PLAN.phases)
            for step in phase.steps
            if [act(target, connection, PLAN, number, a) for a in PLAN.forward(step).actions]
            and any(self.repeated(target, connection, PLAN, number, step.id))
        ]
        assert again == []
        undone_again = []
        for number in reversed(range(5)):
            for step in reversed(PLAN.phases[number].steps):
                actions = PLAN.backward(step).actions
                for action in actions:
                    act(target, connection, PLAN, number, action)
                if any(
                    act(target, connection, PLAN, number, action)
                    for action in actions
                    if getattr(action, "done", True) is not None
                ):
                    undone_again.append(step.id)
        assert undone_again == []

    @staticmethod
    def repeated(
        target: Target, connection: Connection, plan: Plan, number: int, step_id: str
    ) -> Iterator[bool]:
        for action in plan.forward(plan.step(number, step_id)).actions:
            if getattr(action, "done", True) is not None:
                yield act(target, connection, plan, number, action)

    @staticmethod
    def data(connection: Connection) -> list[tuple[object, ...]]:
        return connection.execute(
            "SELECT id, title, description, address, city, postal_code, price, bedrooms,"
            " bathrooms, area, latitude, longitude, type, status, created_at, updated_at"
            " FROM properties ORDER BY id"
        ).fetchall()
