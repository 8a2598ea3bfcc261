"""Whole rollouts, all phases forward and back, without a journal: nothing of it remains."""

import os
from collections.abc import Iterator
from uuid import UUID

import pytest

from config import embedded
from properties.rollout import PLAN
from rollout.engine.target import Connection, Target, install
from rollout.plan import Plan
from tests.engine.actions import act, audit, do_phase, undo_phase
from tests.engine.samples import BIGINT, DIRTY, SAMPLES, Sample
from tests.support.bare_databases import new_database
from tests.support.processes import completed

pytestmark = pytest.mark.slow


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
