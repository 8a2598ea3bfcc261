"""The audit's self-test: every category planted is found, beside writers, and nothing else."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest

from rollout.engine.audit import CATEGORIES
from rollout.engine.audit.lookup_pairs import LookupPairs
from rollout.engine.selftest import SelftestResult, SelftestUndecided, run_selftest
from rollout.engine.selftest.fixture_databases import scratch_database, scratch_name
from rollout.engine.target import Connection, Target
from rollout.plan import Column, Convert, Extract, Plan
from tests.engine.actions import do_phase, do_until
from tests.engine.samples import BIGINT, COMPOSITE, DIRTY, LISTED, ODD, PARTITIONED, Sample
from tests.engine.test_audit_samples import function_of, pictures
from tests.engine.test_backfill_computed import PLAN as PICTURES
from tests.schemas import plan_of, table
from tests.support.processes import wait_until

pytestmark = pytest.mark.slow
# Categories that only a Convert has.
OF_CONVERSIONS = {"lossy", "unconvertible", "undecided"}


def no_function(path: str) -> Any:
    raise AssertionError(f"{path} is no function of this plan")


def tried(target: Target, plan: Plan = BIGINT.plan, **how: Any) -> SelftestResult:
    return run_selftest(target, plan, **{"function_of": no_function, **how})


def is_gone(connection: Connection, pid: int) -> bool:
    sessions = connection.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [pid])
    return sessions.fetchone() is None


def legacy(connection: Connection, sample: Sample = BIGINT, rows: int = 400) -> None:
    sample.create(connection)
    for number in range(rows):
        sample.insert(
            connection,
            number,
            kind=DIRTY[number % len(DIRTY)],
            state=("Open", None, "sold", " ")[number % 4],
        )


def scratch_databases(connection: Connection) -> list[Any]:
    """Those of this database: others' tests make their own on the same server."""
    name = scratch_name(connection.info.dbname)
    return connection.execute(
        "SELECT datname FROM pg_database WHERE datname = %s", [name]
    ).fetchall()


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


@pytest.mark.parametrize("phases", [0, 2, 4], ids=lambda n: f"{n} phases")
def test_a_selftest_runs_in_any_phase(phases: int, target: Target, connection: Connection) -> None:
    legacy(connection, rows=200)
    for number in range(phases + 1 if phases else 0):
        do_phase(target, connection, BIGINT.plan, number)
    result = tried(target)
    assert result.passed
    assert result.rows == {"things": 200}
    assert len(result.full) == len(CATEGORIES) - len({"quarantined", *OF_CONVERSIONS})


def test_a_selftest_changes_nothing_in_the_live_database_and_leaves_nothing(
    target: Target, connection: Connection
) -> None:
    legacy(connection)
    do_until(target, connection, BIGINT.plan, "backfill")

    def everything() -> Any:
        return connection.execute(
            "SELECT (SELECT array_agg(t::text ORDER BY id) FROM things t),"
            " (SELECT array_agg(k::text ORDER BY id) FROM kinds k),"
            " (SELECT array_agg(c.oid::regclass::text || c.relfilenode ORDER BY 1)"
            "    FROM pg_class c WHERE relnamespace = 'rollout'::regnamespace)"
        ).fetchone()

    before = everything()
    assert tried(target).passed
    assert everything() == before
    assert scratch_databases(connection) == []


def test_errors_in_the_live_tables_are_no_false_alarm(
    target: Target, connection: Connection
) -> None:
    legacy(connection)
    do_until(target, connection, BIGINT.plan, "backfill")
    connection.execute("ALTER TABLE things DISABLE TRIGGER USER")
    connection.execute("UPDATE things SET kind_id = -1, is_open = NULL WHERE id % 3 = 0")
    connection.execute("UPDATE kinds SET active = false WHERE name = 'open'")
    connection.execute("UPDATE things SET kind = repeat('long', 60) WHERE id = 7")
    assert tried(target).passed


def test_an_audit_that_overlooks_a_category_fails_it(
    target: Target, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    legacy(connection)
    do_until(target, connection, BIGINT.plan, "backfill")
    right: Callable[..., str] = LookupPairs.classify

    def careless(rules: LookupPairs, text: str | None, new: int | None) -> str:
        category = right(rules, text, new)
        return "ok" if category == "wrong" else category

    monkeypatch.setattr(LookupPairs, "classify", careless)
    result = tried(target)
    scores = {score.category: score for score in result.full}
    assert (scores["wrong"].planted, scores["wrong"].found) == (10, 0)
    assert not result.passed


def test_an_audit_that_cries_wolf_fails_it(
    target: Target, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    legacy(connection)
    do_until(target, connection, BIGINT.plan, "backfill")
    right: Callable[..., str] = LookupPairs.classify

    def nervous(rules: LookupPairs, text: str | None, new: int | None) -> str:
        category = right(rules, text, new)
        return "wrong" if text == "House" and category == "ok" else category

    monkeypatch.setattr(LookupPairs, "classify", nervous)
    result = tried(target)
    assert sum(score.false_alarms for score in result.full) > 0
    assert not result.passed


def test_an_empty_table_proves_nothing(target: Target, connection: Connection) -> None:
    BIGINT.create(connection)
    with pytest.raises(SelftestUndecided, match="nothing planted"):
        tried(target)
    assert scratch_databases(connection) == []


def test_two_at_a_time_are_refused_and_what_a_killed_one_left_is_dropped(
    target: Target, connection: Connection
) -> None:
    legacy(connection, rows=200)
    with target.connect() as first, scratch_database(first, target):
        ended = first.info.backend_pid
        with pytest.raises(SelftestUndecided, match="already running"):
            tried(target)
    # The lock goes with the session, a moment after the connection.
    wait_until(lambda: is_gone(connection, ended))
    with target.connect() as killed:
        leftover = scratch_database(killed, target)
        leftover.__enter__()
        session = killed.info.backend_pid
    wait_until(lambda: is_gone(connection, session))
    assert len(scratch_databases(connection)) == 1
    assert tried(target).passed
    assert scratch_databases(connection) == []


def test_a_role_without_the_right_is_told_what_it_needs(
    target: Target, connection: Connection
) -> None:
    legacy(connection, rows=50)
    connection.execute("DROP ROLE IF EXISTS no_databases")
    connection.execute("CREATE ROLE no_databases LOGIN PASSWORD 'x'")
    own = Target({**target.parameters, "user": "no_databases", "password": "x"})
    try:
        with pytest.raises(SelftestUndecided, match="ALTER ROLE no_databases CREATEDB"):
            tried(own)
    finally:
        connection.execute("DROP ROLE no_databases")


def test_texts_that_wait_for_a_decision_in_the_live_tables_have_rows_in_the_copy(
    target: Target, connection: Connection
) -> None:
    legacy(connection)
    waiting = replace(BIGINT.state, unknown="null")
    plan = replace(
        BIGINT.plan,
        translations=tuple(waiting if t == BIGINT.state else t for t in BIGINT.plan.translations),
    )
    do_until(target, connection, plan, "backfill")
    BIGINT.update(connection, 5, state="Nobody has decided")
    result = tried(target, plan)
    assert result.passed
    assert result.rows == {"things": 400}
