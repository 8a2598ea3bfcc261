"""The live tables against what the plan expects at a point."""

import pytest

from rollout.engine.catalog import Drift, compare, labels_of, read
from rollout.engine.target import Connection, Target
from tests.engine.actions import do_phase, do_until
from tests.engine.samples import BIGINT, SAMPLES, Sample

PLAN = BIGINT.plan


def drifts(connection: Connection, phases_done: int = 0, sample: Sample = BIGINT) -> list[str]:
    live = read(connection, labels_of(sample.plan))
    return [str(drift) for drift in compare(sample.plan, phases_done=phases_done, live=live)]


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_a_table_as_the_plan_expects_it_has_no_drift_before_and_after_each_phase(
    sample: Sample, target: Target, connection: Connection
) -> None:
    sample.create(connection)
    for number in range(5):
        assert drifts(connection, number, sample) == []
        do_phase(target, connection, sample.plan, number)
    assert drifts(connection, 5, sample) == []


def test_a_table_that_is_not_there_is_named(connection: Connection) -> None:
    assert drifts(connection) == ["things: expected a table, found none"]


@pytest.mark.parametrize(
    ("change", "drift"),
    [
        ("DROP COLUMN state", "things.state: expected text, found no column"),
        ("ALTER kind TYPE varchar(40)", "things.kind: expected text, found character varying(40)"),
        ("ALTER kind SET NOT NULL", "things.kind: expected text, found text not null"),
        (
            "ALTER made_at DROP NOT NULL",
            "things.made_at: expected timestamp with time zone not null,"
            " found timestamp with time zone",
        ),
        ("ADD is_open boolean", "things.is_open: expected no column in this phase, found boolean"),
    ],
    ids=["missing", "wrong type", "not null", "null", "too early"],
)
def test_a_column_that_differs_is_named_with_what_was_expected(
    change: str, drift: str, connection: Connection
) -> None:
    BIGINT.create(connection)
    connection.execute(f"ALTER TABLE things {change}".encode())
    # What takes an index along is named with it.
    assert [line for line in drifts(connection) if "legacy_idx" not in line] == [drift]


def test_a_table_of_a_later_phase_that_is_there_already_is_named(connection: Connection) -> None:
    BIGINT.create(connection)
    connection.execute("CREATE TABLE kinds (something_else integer)")
    assert drifts(connection) == ["kinds: expected no table in this phase, found a table"]


def test_legacy_columns_that_are_still_there_after_the_last_phase_are_drift(
    target: Target, connection: Connection
) -> None:
    BIGINT.create(connection)
    do_until(target, connection, PLAN, "index")
    connection.execute("ALTER TABLE things ADD kind text")
    assert drifts(connection, 5) == ["things.kind: expected no column in this phase, found text"]


def test_columns_that_the_plan_does_not_mention_are_the_applications_own(
    connection: Connection,
) -> None:
    BIGINT.create(connection)
    connection.execute("ALTER TABLE things ADD colour text NOT NULL")
    assert drifts(connection) == []


def test_a_drift_reads_as_a_sentence() -> None:
    assert str(Drift("t", "c", "text", "integer")) == "t.c: expected text, found integer"
