"""What a phase changes as the plan declares it, against what the database says afterwards."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from properties.rollout import PLAN
from rollout.engine.catalog import labels_of, read
from rollout.engine.target import Connection, Target, install
from rollout.plan import Plan
from rollout.plan.catalog import Catalog
from rollout.plan.schema_changes import Change, SchemaChange, TableChange, between, of_phase
from tests.engine.actions import do_phase, undo_phase
from tests.engine.samples import ODD, PARTITIONED, REQUIRED, Sample
from tests.support.bare_databases import new_database

pytestmark = pytest.mark.slow


def live(connection: Connection, plan: Plan) -> Catalog:
    return read(connection, labels_of(plan))


def in_words(declared: SchemaChange, real: tuple[TableChange, ...]) -> tuple[TableChange, ...]:
    """The real changes, with each default that the data decides put as it was declared."""
    words = {
        (table.table, part.name): part
        for table in declared.tables
        for part in table.parts
        if part.kind == "default" and "lookup row" in part.before + part.after
    }

    def put(table: str, part: Change) -> Change:
        declaration = words.get((table, part.name)) if part.kind == "default" else None
        if declaration is None:
            return part
        assert (part.before + part.after).strip("'").isalnum()
        assert part.sign == declaration.sign
        return declaration

    return tuple(
        replace(table, parts=tuple(put(table.table, part) for part in table.parts))
        for table in real
    )


def certain(declared: SchemaChange, real: tuple[TableChange, ...]) -> tuple[TableChange, ...]:
    """What was declared, without the defaults "if it had one" that are missing."""
    there = {(t.table, part.kind, part.name) for t in real for part in t.parts}
    return tuple(
        replace(
            table,
            parts=tuple(
                part
                for part in table.parts
                if "if it had" not in part.before + part.after
                or (table.table, part.kind, part.name) in there
            ),
        )
        for table in declared.tables
    )


def assert_as_declared(target: Target, connection: Connection, plan: Plan) -> None:
    """Each phase there, and each back, changes the live catalog as it was declared to."""
    for number in range(5):
        before = live(connection, plan)
        do_phase(target, connection, plan, number)
        changed = between(before, live(connection, plan))
        declared = of_phase(plan, number)
        assert in_words(declared, changed) == certain(declared, changed)
    for number in reversed(range(5)):
        before = live(connection, plan)
        undo_phase(target, connection, plan, number)
        changed = between(before, live(connection, plan))
        declared = of_phase(plan, number, back=True)
        assert in_words(declared, changed) == certain(declared, changed)


@pytest.fixture
def shipped_copy(template: str) -> Iterator[Target]:
    """A copy of the migrated database."""
    with new_database(template) as copy:
        yield copy


def test_the_shipped_plan_changes_the_catalog_as_declared_forward_and_back(
    shipped_copy: Target,
) -> None:
    with shipped_copy.connect() as connection:
        install(connection)
        assert_as_declared(shipped_copy, connection, PLAN)
    assert [of_phase(PLAN, number).tables != () for number in range(5)] == [
        number > 0 for number in range(5)
    ]


@pytest.mark.parametrize("sample", [ODD, PARTITIONED, REQUIRED], ids=str)
def test_a_plan_of_any_shape_changes_the_catalog_as_declared(
    sample: Sample, target: Target, connection: Connection
) -> None:
    sample.create(connection)
    assert_as_declared(target, connection, sample.plan)
