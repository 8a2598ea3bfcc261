"""Every category that a self-test plants is found, beside writers, and nothing else."""

from dataclasses import replace
from typing import Literal

import pytest

from rollout.engine.audit import CATEGORIES
from rollout.engine.target import Connection, Target
from rollout.plan import Column, Convert, Extract
from tests.engine.actions import do_phase, do_until
from tests.engine.audit.test_random_samples import function_of, pictures
from tests.engine.samples import BIGINT, COMPOSITE, LISTED, ODD, PARTITIONED, Sample
from tests.engine.selftests import OF_CONVERSIONS, legacy, tried
from tests.engine.test_backfill_computed import PLAN as PICTURES
from tests.schemas import plan_of, table

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("sample", [BIGINT, COMPOSITE, ODD, LISTED, PARTITIONED], ids=str)
def test_a_full_audit_finds_all_that_is_planted_and_nothing_else_while_writers_run(
    sample: Sample, target: Target, connection: Connection
) -> None:
    legacy(connection, sample)
    do_until(target, connection, sample.plan, "backfill")
    result = tried(target, sample.plan, writers=3)
    scores = {score.category: score for score in result.full}
    assert set(scores) == set(CATEGORIES) - {"quarantined", *OF_CONVERSIONS}
    assert {score.recall for score in result.full} == {1.0}
    assert {score.false_alarms for score in result.full} == {0}
    assert all(score.planted >= 5 for score in result.full)
    assert result.passed
    assert result.writes > 0
    assert result.full_rows == result.rows[sample.table.label] == 400


def test_a_sample_finds_what_it_looks_at_and_says_how_much_that_is(
    target: Target, connection: Connection
) -> None:
    legacy(connection)
    do_until(target, connection, BIGINT.plan, "backfill")
    result = tried(target)
    planted = sum(score.planted for score in result.sample)
    assert 0 < planted < result.sample_planted
    assert result.sample_rows == 100
    assert all(s.found == s.planted and not s.false_alarms for s in result.sample)


def test_computed_columns_are_recomputed_by_the_sample(
    target: Target, connection: Connection
) -> None:
    pictures(connection, *(f"{number}.png" for number in range(40)), "missing.png")
    result = tried(target, PICTURES, function_of=function_of)
    assert {s.category: (s.planted, s.found, s.false_alarms) for s in result.full} == {
        "quarantined": (5, 5, 0),
        "missing": (5, 5, 0),
    }
    assert {s.category for s in result.sample} <= {"missing", "computed_differs"}
    assert result.passed
    assert result.rows == {"Pic tures": 40}


@pytest.mark.parametrize(
    ("unconvertible", "category"), [("quarantine", "undecided"), ("null", "unconvertible")]
)
def test_values_that_do_not_convert_or_come_back_in_another_spelling_are_found(
    unconvertible: Literal["quarantine", "null"],
    category: str,
    target: Target,
    connection: Connection,
) -> None:
    offer = table("offer", price="text")
    price = Convert(
        table=offer,
        legacy=("price",),
        columns={"cents": Column("bigint")},
        forward={"cents": "round({price}::numeric * 100)"},
        backward={"price": "to_char({cents} / 100.0, 'FM9999990.00')"},
        required=False,
        unconvertible=unconvertible,
    )
    connection.execute("CREATE TABLE offer (id bigint PRIMARY KEY, price text)")
    connection.execute("INSERT INTO offer SELECT g, g || '.00' FROM generate_series(1, 60) AS g")
    connection.execute("INSERT INTO offer VALUES (61, 'n/a'), (62, NULL), (63, NULL)")
    plan = plan_of(replace(price, keeps_name=True))
    if unconvertible == "null":
        # From the cutover on under other names.
        for number in range(4):
            do_phase(target, connection, plan, number)
    result = tried(target, plan)
    expected = {"missing", "computed_differs", "unexpected", "lossy", category}
    assert {score.category for score in result.full} == expected
    assert {(score.recall, score.false_alarms) for score in result.full} == {(1.0, 0)}
    assert result.passed


def test_rows_that_are_not_what_was_extracted_are_found(
    target: Target, connection: Connection
) -> None:
    home = table("home", agent="text", email="text")
    agent = Extract(
        table=home,
        legacy=("agent", "email"),
        into="agents",
        column="agent_id",
        key=("email",),
        required=False,
    )
    connection.execute("CREATE TABLE home (id bigint PRIMARY KEY, agent text, email text)")
    connection.execute(
        "INSERT INTO home SELECT g, 'A' || g % 9, 'a' || g % 9 FROM generate_series(1, 60) AS g"
    )
    connection.execute("INSERT INTO home SELECT g FROM generate_series(61, 70) AS g")
    plan = plan_of(agent)
    for number in range(3):
        do_phase(target, connection, plan, number)
    result = tried(target, plan)
    expected = {"missing", "computed_differs", "unexpected", "lossy"}
    assert {score.category for score in result.full} == expected
    assert {(score.recall, score.false_alarms) for score in result.full} == {(1.0, 0)}
    assert result.passed
