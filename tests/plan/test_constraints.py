"""Rules that a phase puts in force: who breaks them is listed, what is the application's stays."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from psycopg import errors, sql

from rollout import plan as r
from rollout.engine import ddl, preflight
from rollout.engine.catalog import compare, labels_of, read
from rollout.engine.target import Connection, Target
from rollout.plan import Plan
from tests.engine.actions import act, do_phase, do_step, undo_step
from tests.engine.preflight.runs import item
from tests.engine.sample_plans import with_phases
from tests.engine.samples import BIGINT, COMPOSITE, ODD, PARTITIONED, UUIDS, Sample
from tests.engine.test_every_phase import schema_of

SHAPES = pytest.mark.parametrize("sample", [BIGINT, UUIDS, ODD, PARTITIONED], ids=str)


def check_of(sample: Sample) -> r.AddCheck:
    return r.AddCheck(
        id="check",
        description="Refuse what costs nothing",
        table=sample.table,
        name='Not "free"',
        condition=f"{{{sample.column('kind')}}} <> 'free'",
    )


def plan_with(sample: Sample, *steps: r.Step) -> Plan:
    """A plan that does nothing but these steps, in phase 3."""
    empty = r.Phase(steps=())
    phases = (empty, empty, empty, r.Phase(steps=steps), empty)
    return replace(with_phases(sample.plan, phases), translations=())


def fill(sample: Sample, connection: Connection, *kinds: str | None) -> None:
    sample.create(connection)
    for number, kind in enumerate(kinds):
        sample.insert(connection, number, kind=kind)


def drifts(connection: Connection, plan: Plan) -> list[str]:
    live = read(connection, labels_of(plan))
    return [str(drift) for drift in compare(plan, phases_done=4, live=live)]


@SHAPES
def test_rows_that_break_a_check_are_listed_before_and_by_the_error_and_then_it_is_retried(
    sample: Sample, target: Target, connection: Connection
) -> None:
    step = check_of(sample)
    plan = plan_with(sample, step)
    fill(sample, connection, *["free"] * 25, None, "dear")
    before = schema_of(target)
    name = f"rows of {sample.table.label} against {sample.column('kind')} <> 'free'"
    finding = item(preflight.run(target, plan, 3), name)
    listed = finding.evidence.partition(" Examples: ")[2].rstrip(".").split(", ")
    assert finding.level == "blocks"
    assert f"25 rows of {sample.table.label} break the condition" in finding.evidence
    keys = {" ".join(map(str, sample.make_key(number))) for number in range(25)}
    assert len(listed) == 20
    assert set(listed) <= keys
    with pytest.raises(ddl.RowsInTheWay) as refused:
        do_step(target, connection, plan, 3, step)
    assert str(refused.value) == f"{finding.evidence} {finding.advice}"
    # What is written from now on has to keep it, and what is there is as it was.
    with pytest.raises(errors.CheckViolation):
        sample.insert(connection, 30, kind="free")
    for number in range(25):
        sample.update(connection, number, kind=None)
    do_step(target, connection, plan, 3, step)
    assert item(preflight.run(target, plan, 3), name).level == "pass"
    assert drifts(connection, plan) == []
    assert not any(act(target, connection, plan, 3, a) for a in step.forward(plan))
    undo_step(target, connection, plan, 3, step)
    assert schema_of(target) == before
    assert not any(act(target, connection, plan, 3, a) for a in step.backward(plan))


def test_a_check_of_the_application_that_has_the_name_is_neither_taken_for_it_nor_dropped(
    target: Target, connection: Connection
) -> None:
    step = check_of(BIGINT)
    plan = plan_with(BIGINT, step)
    fill(BIGINT, connection)
    connection.execute('ALTER TABLE things ADD CONSTRAINT "Not ""free""" CHECK (id > 0)')
    before = schema_of(target)
    assert "CHECK ((id > 0))" in item(preflight.run(target, plan, 3), "schema").evidence
    with pytest.raises(errors.DuplicateObject):
        do_step(target, connection, plan, 3, step)
    undo_step(target, connection, plan, 3, step)
    assert schema_of(target) == before


@pytest.mark.parametrize(
    ("change", "has"),
    [
        ("DROP CONSTRAINT {name}", "no constraint"),
        ("DROP CONSTRAINT {name}, ADD CONSTRAINT {name} CHECK (id > 0)", "CHECK ((id > 0))"),
        (
            "DROP CONSTRAINT {name}, ADD CONSTRAINT {name} CHECK (id > 0) NOT VALID;"
            " COMMENT ON CONSTRAINT {name} ON things IS $$rollout: kind <> 'free'$$",
            "check (kind <> 'free'), not validated",
        ),
    ],
)
def test_a_check_that_is_dropped_or_replaced_is_drift(
    change: str, has: str, target: Target, connection: Connection
) -> None:
    plan = plan_with(BIGINT, check_of(BIGINT))
    fill(BIGINT, connection)
    do_phase(target, connection, plan, 3)
    name = sql.Identifier('Not "free"').as_string()
    connection.execute(f"ALTER TABLE things {change.format(name=name)}".encode())
    assert drifts(connection, plan) == [
        "things constraint Not \"free\": expected check (kind <> 'free'), validated, found " + has
    ]


def test_every_statement_that_rows_can_refuse_lists_them_in_its_error(
    target: Target, connection: Connection
) -> None:
    fill(BIGINT, connection, "House", "House")
    connection.execute(
        "CREATE TABLE kinds (id integer PRIMARY KEY); ALTER TABLE things ADD kind_id integer;"
        "UPDATE things SET kind_id = 7"
    )
    required = r.RequireValues(id="v", description="", table=BIGINT.table, columns=("state",))
    key = r.AddForeignKey(id="k", description="", lookup=BIGINT.kind)
    unique = r.CreateIndex(
        id="u", description="", table=BIGINT.table, name="u", columns=("kind",), unique=True
    )
    refusals = (
        (required, "2 rows of things have NULL in state. Examples: 0, 1."),
        (
            key,
            "2 rows of things have orphaned references in kind_id: no such row of kinds."
            " Examples: 0, 1.",
        ),
        (unique, "1 duplicate value in things (kind). Examples: House (2 rows: 0 … 1)."),
    )
    for step, text in refusals:
        with pytest.raises(ddl.RowsInTheWay) as refused:
            do_step(target, connection, BIGINT.plan, 3, step)
        assert str(refused.value).startswith(text)


def test_rows_that_are_not_found_in_time_leave_the_servers_own_error(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = check_of(BIGINT)
    slow = replace(step, condition="{kind} <> 'free' OR pg_sleep(30) IS NULL")
    monkeypatch.setattr(ddl, "MAX_SEARCH_SECONDS", 1)
    fill(BIGINT, connection, "free")
    _add, validate = slow.forward(BIGINT.plan)
    hazard = getattr(validate, "refused_by", None)
    assert hazard is not None
    ddl.raise_for_rows(connection, hazard, errors.CheckViolation("some row"))
    assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)


def unique_of(sample: Sample) -> r.AddUnique:
    return r.AddUnique(
        id="unique",
        description="Make kinds and states unique",
        table=sample.table,
        columns=(sample.column("kind"), sample.column("state")),
    )


@pytest.mark.parametrize("sample", [BIGINT, UUIDS, COMPOSITE, ODD], ids=str)
def test_duplicates_are_listed_before_and_by_the_error_and_the_failed_build_is_done_again(
    sample: Sample, target: Target, connection: Connection
) -> None:
    step = unique_of(sample)
    plan = plan_with(sample, step)
    sample.create(connection)
    for number in range(30):
        sample.insert(connection, number, kind=f"kind {number // 3}", state=number // 3 or None)
    before = schema_of(target)
    kind, state = step.columns
    name = f"duplicates of {sample.table.label} ({kind}, {state})"
    finding = item(preflight.run(target, plan, 3), name)
    assert finding.level == "blocks"
    # Rows without a state are no duplicates.
    assert f"9 duplicate values in {sample.table.label}" in finding.evidence
    keys = [" ".join(map(str, sample.make_key(number))) for number in (27, 28, 29)]
    assert f"kind 9 9 (3 rows: {min(keys)} … {max(keys)})" in finding.evidence
    with pytest.raises(ddl.RowsInTheWay) as refused:
        do_step(target, connection, plan, 3, step)
    assert str(refused.value) == f"{finding.evidence} {finding.advice}"
    left = "SELECT indisvalid FROM pg_index JOIN pg_class AS c ON c.oid = indexrelid"
    named = [*connection.execute(f"{left} WHERE relname = %s".encode(), [step.constraint])]
    assert named == [(False,)]
    for number in range(30):
        if number % 3:
            sample.delete(connection, number)
    do_step(target, connection, plan, 3, step)
    assert drifts(connection, plan) == []
    with pytest.raises(errors.UniqueViolation):
        sample.insert(connection, 31, kind="kind 9", state="9")
    assert not any(act(target, connection, plan, 3, a) for a in step.forward(plan))
    undo_step(target, connection, plan, 3, step)
    assert schema_of(target) == before
    assert not any(act(target, connection, plan, 3, a) for a in step.backward(plan))


@pytest.mark.parametrize(
    ("sample", "step_of", "actions"),
    [
        *((sample, check_of, 1) for sample in (BIGINT, UUIDS, ODD, PARTITIONED)),
        *((ODD, unique_of, actions) for actions in (1, 2)),
    ],
)
def test_a_constraint_that_stopped_half_way_is_taken_back(
    sample: Sample,
    step_of: Callable[[Sample], r.Step],
    actions: int,
    target: Target,
    connection: Connection,
) -> None:
    step = step_of(sample)
    plan = plan_with(sample, step)
    fill(sample, connection, "free")
    before = schema_of(target)
    for action in step.forward(plan)[:actions]:
        act(target, connection, plan, 3, action)
    # The first action of an index only removes what a failed build left.
    assert schema_of(target) != before or (step_of is unique_of and actions == 1)
    undo_step(target, connection, plan, 3, step)
    assert schema_of(target) == before


def test_a_unique_constraint_has_the_name_that_django_gives_and_another_one_is_drift(
    target: Target, connection: Connection
) -> None:
    step = unique_of(BIGINT)
    plan = plan_with(BIGINT, step)
    fill(BIGINT, connection)
    do_phase(target, connection, plan, 3)
    name = "things_kind_state_5f907327_uniq"
    assert step.constraint == name
    for change, has in (
        (f"DROP CONSTRAINT {name}", "no constraint"),
        (f"ADD CONSTRAINT {name} UNIQUE (state, kind)", "unique (state, kind)"),
        (
            f"DROP CONSTRAINT {name}, ADD CONSTRAINT {name} UNIQUE (kind, state) INCLUDE (id)",
            "UNIQUE (kind, state) INCLUDE (id)",
        ),
    ):
        connection.execute(f"ALTER TABLE things {change}".encode())
        assert drifts(connection, plan) == [
            f"things constraint {name}: expected unique (kind, state), found {has}"
        ]
