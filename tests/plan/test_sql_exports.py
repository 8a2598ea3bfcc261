"""A plan written as SQL files: what is read back from them does the same."""

from dataclasses import replace
from pathlib import Path

import pytest

from properties.rollout import PLAN as SHIPPED
from rollout.checks.plans import check_plan
from rollout.engine.target import Connection, Target
from rollout.plan import Plan, SqlFiles
from rollout.plan.actions import Statement
from rollout.plan.plan import Step
from rollout.plan.sql_exports import FileNotGenerated, write_files
from tests.engine.actions import act
from tests.engine.sample_plans import with_phases
from tests.engine.samples import BIGINT, COMPOSITE, ODD, Sample
from tests.engine.test_every_phase import fill_with_dirt, whole_schema_of
from tests.support.bare_databases import clear


def read_back(plan: Plan, directory: Path) -> Plan:
    """The plan with all its steps read from the files."""
    files = SqlFiles(directory)
    return with_phases(
        plan,
        (replace(phase, steps=files.of_phase(number)) for number, phase in enumerate(plan.phases)),
    )


@pytest.mark.parametrize("plan", [SHIPPED, BIGINT.plan, COMPOSITE.plan], ids=lambda p: p.name)
def test_exported_files_are_read_back_as_the_same_statements_in_the_same_order(
    plan: Plan, tmp_path: Path
) -> None:
    write_files(plan, tmp_path)
    read = read_back(plan, tmp_path)
    assert not [problem for problem in check_plan(read) if problem.id == "rollout.E050"]
    for phase, again in zip(plan.phases, read.phases, strict=True):
        assert [(s.id, s.description) for s in again.steps] == [
            (s.id, s.description) for s in phase.steps
        ]
        for step, same in zip(phase.steps, again.steps, strict=True):
            assert same.changes_write_path == step.changes_write_path
            assert same.destructive >= step.destructive
            assert same.restrictive >= step.restrictive
            assert same.checksum
            assert facts_of(read, same, forward=True) == facts_of(plan, step, forward=True)
            assert facts_of(read, same, forward=False) == facts_of(plan, step, forward=False)


def facts_of(plan: Plan, step: Step, *, forward: bool) -> list[object]:
    actions = step.forward(plan) if forward else step.backward(plan) or ()
    return [
        (a.text.strip(), a.locks, a.long, a.scans, a.servers, a.done is None)
        for a in actions
        if isinstance(a, Statement)
    ]


@pytest.mark.slow
def test_the_files_make_the_same_catalog_as_the_plan_and_unmake_it(
    target: Target, connection: Connection, tmp_path: Path
) -> None:
    write_files(ODD.plan, tmp_path)
    read = read_back(ODD.plan, tmp_path)
    by_plan = catalogs(ODD, ODD.plan, target, connection)
    clear(connection)
    by_files = catalogs(ODD, read, target, connection)
    assert len(by_files) == 6
    assert by_files == by_plan


def catalogs(sample: Sample, plan: Plan, target: Target, connection: Connection) -> list[list[str]]:
    """The schema at the turns of a whole rollout and its way back; statements are the plan's.

    What is no SQL, as filling rows in, is done as the sample's own plan says in both cases.
    """
    sample.create(connection)
    fill_with_dirt(sample, connection)
    seen: list[list[str]] = []
    for number in range(5):
        for step, own in steps_of(plan, sample.plan, number):
            do_both(plan, step, own, number, target, connection, sample, forward=True)
        if number in (1, 3, 4):
            seen.append(whole_schema_of(target))
    for number in reversed(range(5)):
        for step, own in reversed(steps_of(plan, sample.plan, number)):
            do_both(plan, step, own, number, target, connection, sample, forward=False)
        if number in (4, 2, 0):
            seen.append(whole_schema_of(target))
    return seen


def steps_of(plan: Plan, own: Plan, number: int) -> list[tuple[Step, Step]]:
    return list(zip(plan.phases[number].steps, own.phases[number].steps, strict=True))


def do_both(
    plan: Plan,
    step: Step,
    own: Step,
    number: int,
    target: Target,
    connection: Connection,
    sample: Sample,
    *,
    forward: bool,
) -> None:
    actions = step.forward(plan) if forward else step.backward(plan) or ()
    statements = iter([a for a in actions if isinstance(a, Statement)])
    for action in own.forward(sample.plan) if forward else own.backward(sample.plan) or ():
        exported = next(statements) if isinstance(action, Statement) else action
        act(target, connection, sample.plan, number, exported)


def test_steps_without_sql_are_described_in_comments(tmp_path: Path) -> None:
    write_files(SHIPPED, tmp_path)
    texts = {path.name: path.read_text() for path in tmp_path.iterdir()}
    backfill = next(text for name, text in texts.items() if name.endswith("_backfill.up.sql"))
    assert "-- In batches, concurrently with writers, until no row is left (fill):" in backfill
    assert '-- UPDATE "public"."properties" AS t SET' in backfill
    audit = next(text for name, text in texts.items() if name.endswith("_audit.up.sql"))
    assert "-- Full audit of every row" in audit
    assert "001_compare_schema.up.sql" in texts
    assert all(
        text.startswith("-- Written by `manage.py rollout sql pro") for text in texts.values()
    )


def test_writing_again_replaces_what_was_written_and_nothing_of_anybodys_own(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "new" / "sql"
    first = write_files(BIGINT.plan, directory)
    (directory / "README.md").write_text("ours")
    write_files(COMPOSITE.plan, directory)
    assert {path.name for path in directory.glob("*.sql")} == {path.name for path in first}
    (directory / "999_own.up.sql").write_text("SELECT 1")
    with pytest.raises(FileNotGenerated, match=r"999_own\.up\.sql was not generated by Rollout"):
        write_files(BIGINT.plan, directory)
    assert (directory / "README.md").read_text() == "ours"
