"""Statements that work on a whole large table are refused before their phase, or warned of."""

from dataclasses import replace
from pathlib import Path

import pytest

from rollout import plan as r
from rollout.engine.preflight import Item, whole_tables
from rollout.engine.target import Connection, Target
from tests.engine.preflight.runs import PLAN, item, run
from tests.engine.sample_plans import with_step
from tests.engine.samples import PARTITIONED

HEAD = "-- rollout: phase: 4\n-- rollout: destructive\n-- rollout: locks: none\n"
DOWN = "-- rollout: locks: none\n-- rollout: repeatable\n{}"


@pytest.fixture(autouse=True)
def large_table(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_tables, "NOTICEABLE", 40_000)
    monkeypatch.setattr(whole_tables, "LARGE", 200_000)
    connection.execute(
        "ALTER TABLE things ADD word varchar(20);"
        "INSERT INTO things (id, kind) SELECT n, 'House' FROM generate_series(2, 8000) AS n;"
        "CREATE TABLE small (id bigint PRIMARY KEY);"
        "CREATE TABLE middle AS SELECT n AS id FROM generate_series(1, 1200) AS n"
    )


def answer(
    target: Target,
    directory: Path,
    up: str,
    *,
    down: str = "SELECT 1",
    header: str = "",
    plan: r.Plan = PLAN,
) -> Item:
    (directory / "001_work.up.sql").write_text(f"{HEAD}-- rollout: repeatable\n{header}{up};")
    (directory / "001_work.down.sql").write_text(DOWN.format(down))
    (step,) = r.SqlFiles(directory).steps
    assert step.problems == ()
    return item(run(target, 4, with_step(plan, 4, step)), whole_tables.NAME)


def test_a_large_table_is_named_with_the_step_and_its_size(target: Target, tmp_path: Path) -> None:
    refused = answer(target, tmp_path, "UPDATE things SET kind = 'x'")
    assert refused.level == "blocks"
    assert refused.evidence.startswith("Step 'work' writes rows of things (")
    assert refused.evidence.endswith(" kB) in one transaction.")
    assert "-- rollout: whole-table" in refused.advice


@pytest.mark.parametrize(
    ("up", "level"),
    [
        ("UPDATE things SET kind = 'x' WHERE id BETWEEN 1 AND 9", "pass"),
        ("UPDATE things SET kind = 'x' WHERE ctid < '(5,0)'", "pass"),
        ("UPDATE things SET kind = 'x' WHERE kind_id = 9", "blocks"),
        ("CREATE TABLE archive AS SELECT * FROM public.things", "blocks"),
        ("CREATE INDEX by_word ON things (word)", "blocks"),
        ("ALTER TABLE things ALTER word TYPE varchar(30), ALTER kind TYPE varchar", "pass"),
        ("ALTER TABLE things ALTER word TYPE varchar(10)", "blocks"),
        ("ALTER TABLE things ALTER id TYPE text", "blocks"),
        ("ALTER TABLE things ALTER word TYPE text, ALTER id TYPE numeric", "blocks"),
        ("DELETE FROM middle", "warns"),
        ("DELETE FROM small", "pass"),
        ("DELETE FROM not_there_yet", "pass"),
        ("UPDATE rollout.modes SET features = features", "pass"),
    ],
)
def test_the_level_follows_from_the_size_and_from_how_much_of_the_table_is_meant(
    up: str, level: str, target: Target, tmp_path: Path
) -> None:
    assert answer(target, tmp_path, up).level == level


def test_a_statement_that_is_meant_is_only_warned_of(target: Target, tmp_path: Path) -> None:
    meant = "-- rollout: whole-table\n"
    assert answer(target, tmp_path, "DELETE FROM things", header=meant).level == "warns"


def test_the_way_back_counts_as_much(target: Target, tmp_path: Path) -> None:
    refused = answer(target, tmp_path, "SELECT 1", down="DELETE FROM things")
    assert refused.level == "blocks"


def test_rows_of_partitions_are_counted(
    target: Target, connection: Connection, tmp_path: Path
) -> None:
    PARTITIONED.create(connection)
    connection.execute(
        "INSERT INTO parted.things (place, id) SELECT n % 20, n FROM generate_series(1, 12000) AS n"
    )
    plan = replace(PLAN, tables=(*PLAN.tables, PARTITIONED.table))
    refused = answer(target, tmp_path, "DELETE FROM parted.things", plan=plan)
    assert refused.level == "blocks"
