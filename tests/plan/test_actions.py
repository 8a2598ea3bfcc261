"""Actions show the SQL that they would run."""

from dataclasses import replace

from rollout.plan.actions import Fill, Statement
from rollout.plan.transition import fill
from tests.engine.samples import BIGINT, ODD


def test_a_statement_shows_its_sql() -> None:
    drop = BIGINT.plan.step(1, "add-columns").backward(BIGINT.plan)
    assert drop is not None
    (statement,) = drop
    assert isinstance(statement, Statement)
    assert statement.text.startswith('ALTER TABLE "public"."things"')


def test_a_fill_shows_the_update_of_a_batch_with_names_quoted() -> None:
    announced, text = fill(ODD.plan, ODD.table).text.split(";\n")
    assert announced.startswith("SELECT set_config('rollout.engine', ")
    assert text.startswith('UPDATE "Mixed Case"."Ta.ble""x" AS t SET "Kind \'id" = ')
    assert "/* rows of the batch */" in text


def test_a_fill_writes_only_rows_that_are_not_right() -> None:
    only = fill(BIGINT.plan, BIGINT.table)
    assert only.wrong.as_string().count("IS DISTINCT FROM") == len(only.assignments) == 4


def test_a_fill_without_joins_has_no_from() -> None:
    clear = (BIGINT.plan.step(2, "dual-write").backward(BIGINT.plan) or ())[-1]
    assert isinstance(clear, Fill)
    assert " FROM " not in replace(clear, keeps=()).text.replace("DISTINCT FROM", "")


def test_a_pass_that_keeps_columns_writes_the_version_of_a_row_that_it_read() -> None:
    clear = (BIGINT.plan.step(2, "dual-write").backward(BIGINT.plan) or ())[-1]
    assert isinstance(clear, Fill)
    assert "t.ctid = met.place AND t.xmin = met.writer" in clear.text
