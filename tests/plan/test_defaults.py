"""A default that a step sets: rows without a value get it, and the old one comes back."""

from dataclasses import replace

import pytest
from psycopg import sql

from rollout import plan as r
from rollout.engine import quarantine
from rollout.engine.target import Connection, Target
from rollout.plan.actions import Fill
from tests.engine.actions import (
    act,
    do_phase,
    do_step,
    new_job,
    undo_phase,
    undo_step,
    work_off,
)
from tests.engine.sample_plans import with_phases
from tests.engine.samples import BIGINT, ODD, PARTITIONED, UUIDS, Sample
from tests.engine.test_every_phase import schema_of

NEW = 'Is "it" new?'


def plan_with(sample: Sample, *steps: r.Step) -> r.Plan:
    """A plan that adds a column, and then does these steps in phase 2."""
    add = r.AddColumns(
        id="add",
        description="Add a column",
        table=sample.table,
        columns={NEW: r.Column("character varying(20)")},
    )
    empty = r.Phase(steps=())
    phases = (empty, r.Phase(steps=(add,)), r.Phase(steps=steps), empty, empty)
    return replace(with_phases(sample.plan, phases), translations=())


def values(sample: Sample, connection: Connection) -> list[str | None]:
    rows = connection.execute(
        sql.SQL("SELECT t.{} FROM {} AS t ORDER BY t.{}").format(
            sql.Identifier(NEW), sample.table.identifier, sql.Identifier(sample.column("made_at"))
        )
    )
    return [value for (value,) in rows]


@pytest.mark.parametrize("sample", [BIGINT, UUIDS, ODD, PARTITIONED], ids=str)
def test_rows_without_a_value_get_the_default_and_all_others_keep_theirs(
    sample: Sample, target: Target, connection: Connection
) -> None:
    step = r.SetDefault(
        id="default",
        description="Everything is new",
        table=sample.table,
        column=NEW,
        default="'100 % ' || 'it''s'",
    )
    plan = plan_with(sample, step)
    sample.create(connection)
    before = schema_of(target)
    do_phase(target, connection, plan, 1)
    for number in range(6):
        own = {NEW: "own"} if number % 3 == 0 else {}
        sample.insert(connection, number, made_at=f"2024-01-01 00:00:0{number}+00", **own)
    changed = [act(target, connection, plan, 2, action) for action in step.forward(plan)]
    assert changed == [True, True]
    sample.insert(connection, 6, made_at="2024-01-02")
    sample.insert(connection, 7, made_at="2024-01-03", **{NEW: None})
    expected = ["own", "100 % it's", "100 % it's"] * 2 + ["100 % it's", None]
    assert values(sample, connection) == expected
    sample.delete(connection, 7)
    assert [act(target, connection, plan, 2, a) for a in step.forward(plan)] == [False, False]
    undo_phase(target, connection, plan, 2)
    assert values(sample, connection) == expected[:-1], "nobody knows which of them were empty"
    sample.insert(connection, 8, made_at="2024-01-04")
    assert values(sample, connection)[-1] is None
    undo_phase(target, connection, plan, 1)
    assert schema_of(target) == before


def test_a_default_that_is_too_long_for_its_column_is_never_filled_in_cut_off(
    target: Target, connection: Connection
) -> None:
    step = r.SetDefault(
        id="d", description="", table=BIGINT.table, column=NEW, default="repeat('x', 21)"
    )
    plan = plan_with(BIGINT, step)
    BIGINT.create(connection)
    do_phase(target, connection, plan, 1)
    BIGINT.insert(connection, 1)
    default, fill = step.forward(plan)
    assert isinstance(fill, Fill)
    act(target, connection, plan, 2, default)
    job, stripes = new_job(connection, fill)
    work_off(connection, fill, job, stripes)
    (refused,) = quarantine.rows(connection, job)
    assert "too long" in refused.error
    assert values(BIGINT, connection) == [None]


def test_a_fill_that_stopped_after_the_default_continues_where_it_was(
    target: Target, connection: Connection
) -> None:
    step = r.SetDefault(id="d", description="", table=BIGINT.table, column=NEW, default="'new'")
    plan = plan_with(BIGINT, step)
    BIGINT.create(connection)
    do_phase(target, connection, plan, 1)
    BIGINT.insert(connection, 1)
    default, _fill = step.forward(plan)
    act(target, connection, plan, 2, default)
    do_step(target, connection, plan, 2, step)
    assert values(BIGINT, connection) == ["new"]
    undo_step(target, connection, plan, 2, step)
    undo_step(target, connection, plan, 2, step)
    BIGINT.insert(connection, 2)
    assert sorted(map(str, values(BIGINT, connection))) == ["None", "new"]


@pytest.mark.parametrize("sample", [BIGINT, ODD, PARTITIONED], ids=str)
@pytest.mark.parametrize(
    "old", ["'none'::text", "elsewhere.word('100 %s')", None], ids=["constant", "function", "none"]
)
def test_the_old_default_comes_back_whatever_the_session_finds_its_names_by(
    sample: Sample, old: str | None, target: Target, connection: Connection
) -> None:
    column = sample.column("kind")
    step = r.SetDefault(
        id="d", description="", table=sample.table, column=column, default="'new'", fill=False
    )
    plan = plan_with(sample, step)
    connection.execute(
        "CREATE SCHEMA elsewhere; CREATE FUNCTION elsewhere.word(text) RETURNS text"
        " LANGUAGE sql AS 'SELECT $1'"
    )
    sample.create(connection)
    alter = sql.SQL("ALTER TABLE {} ALTER {} SET DEFAULT {}")
    if old:
        connection.execute(
            alter.format(sample.table.identifier, sql.Identifier(column), sql.SQL(old))
        )
    for name in list(sample.partitions)[:1]:
        partition = sql.Identifier(sample.schema, name)
        own = sql.SQL("'of its own'")
        connection.execute(alter.format(partition, sql.Identifier(column), own))
    before = schema_of(target)
    connection.execute("SET search_path = elsewhere")
    do_step(target, connection, plan, 2, step)
    sample.insert(connection, 1)
    sample.insert(connection, 15)
    kinds = [kind for kind, _ in sample.texts(connection).values()]
    assert kinds == ["new", "new"]
    connection.execute("SET search_path = public")
    undo_step(target, connection, plan, 2, step)
    assert schema_of(target) == before
