"""The copy in which a self-test plants: one at a time, of what is right, and dropped."""

from dataclasses import replace
from typing import Any

import pytest

from rollout import plan as r
from rollout.engine.selftest import SelftestUndecided
from rollout.engine.selftest.fixture_databases import scratch_database
from rollout.engine.target import Connection, Target
from tests.engine.actions import do_until
from tests.engine.samples import BIGINT
from tests.engine.selftests import is_gone, legacy, scratch_databases, tried
from tests.schemas import plan_of, table
from tests.support import rollouts
from tests.support.processes import wait_until
from tests.support.rollouts import Cli, known
from tests.support.servers import Database

pytestmark = pytest.mark.slow


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


OF_TYPES = """
CREATE SCHEMA tools;
CREATE DOMAIN tools.number AS bigint CHECK (VALUE > 0);
CREATE TYPE tools.state AS ENUM ('open', 'sent', 'lost');
CREATE FUNCTION tools.lowered(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT lower($1)';
CREATE FUNCTION tools.plain(text) RETURNS text IMMUTABLE LANGUAGE sql
  AS 'SELECT tools.lowered($1) || left(md5($1), 4)';
CREATE TABLE letter (
  id tools.number PRIMARY KEY,
  state tools.state NOT NULL,
  town text COLLATE "C");
INSERT INTO letter (id, state, town)
  SELECT g, (ARRAY['open', 'sent', 'lost'])[1 + g % 3]::tools.state, 'Town' || g % 7
    FROM generate_series(1, 200) g;
"""

LETTER = table(
    "letter",
    id=r.Column("tools.number", null=False),
    state=r.Column("tools.state", null=False),
    town="text",
)

LETTERS = plan_of(
    r.Lookup(table=LETTER, legacy="state", column="state_id", lookup_table="letter_states"),
    r.Derived(
        table=LETTER,
        column="town_key",
        type="text",
        expression="tools.plain(coalesce({town}, ''))",
        writable=False,
    ),
    name="letters",
)


def test_a_selftest_makes_types_and_functions_in_its_copy(
    committed_db: Database, cli: Cli, settings: Any
) -> None:
    rollouts.execute(OF_TYPES)
    with known(LETTERS) as letters:
        rollouts.carry_out(letters, 0, 1, 2)
        code, out, err = cli("audit-selftest", LETTERS.name)
        assert (code, err) == (0, ""), out
        settings.ROLLOUT = {**settings.ROLLOUT, "PG_BIN": "/nowhere"}
        code, out, err = cli("audit-selftest", LETTERS.name)
    assert code == 2
    assert "Cannot create the copy: " in out + err
    assert "Install the server's pg_dump here" in out + err
