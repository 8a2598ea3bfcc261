"""The engine's own schema in a target, and how programs reach it."""

import threading
from typing import Any

import pytest
from django.db import connections
from psycopg import sql

from rollout.engine.target import Connection, Target, fetch_bool, install
from rollout.journal.environments import target_of


def test_the_schema_is_installed_by_several_workers_at_once_without_an_error(
    target: Target, connection: Connection
) -> None:
    connection.execute("DROP SCHEMA rollout CASCADE")
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with target.connect() as mine:
                install(mine)
        except BaseException as failure:
            failures.append(failure)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    assert fetch_bool(connection, sql.SQL("to_regclass('rollout.lanes') IS NOT NULL"))


def test_the_schema_of_an_older_version_is_brought_up_to_date_and_keeps_what_it_knows(
    connection: Connection,
) -> None:
    columns = columns_of(connection)
    connection.execute(
        "DROP TABLE rollout.lanes, rollout.quarantine, rollout.losses;"
        "INSERT INTO rollout.throughputs VALUES (1, now(), 5, 5, 1, 0);"
        "ALTER TABLE rollout.throughputs RENAME TO samples;"
        "CREATE TABLE rollout.lanes (job bigint, lane integer, next_block bigint,"
        " PRIMARY KEY (job, lane));"
        "INSERT INTO rollout.lanes VALUES (1, 0, 17);"
        "INSERT INTO rollout.modes (plan, write_mode) VALUES ('p', 'both');"
        "COMMENT ON SCHEMA rollout IS NULL"
    )
    install(connection)
    assert columns_of(connection) == columns
    assert fetch_bool(connection, sql.SQL("(SELECT count(*) = 0 FROM rollout.lanes)"))
    assert fetch_bool(connection, sql.SQL("(SELECT write_mode = 'both' FROM rollout.modes)"))
    assert fetch_bool(connection, sql.SQL("(SELECT scanned = 5 FROM rollout.throughputs)"))


def test_the_schema_of_a_version_that_was_older_again_for_a_while_is_brought_up_to_date(
    connection: Connection,
) -> None:
    columns = columns_of(connection)
    connection.execute(
        "INSERT INTO rollout.throughputs VALUES (1, now(), 5, 5, 1, 0);"
        "CREATE TABLE rollout.samples (LIKE rollout.throughputs);"
        "COMMENT ON SCHEMA rollout IS NULL"
    )
    install(connection)
    assert columns_of(connection) == columns
    assert fetch_bool(connection, sql.SQL("(SELECT scanned = 5 FROM rollout.throughputs)"))


def columns_of(connection: Connection) -> list[tuple[object, ...]]:
    return connection.execute(
        "SELECT table_name, column_name, data_type, is_nullable, column_default"
        " FROM information_schema.columns WHERE table_schema = 'rollout' ORDER BY 1, 2"
    ).fetchall()


def test_a_schema_that_is_up_to_date_costs_one_question_and_keeps_its_lanes(
    target: Target, connection: Connection
) -> None:
    connection.execute(
        "INSERT INTO rollout.lanes (job, lane, schema_name, relation, first_block, end_block,"
        " next_block, range_blocks, range_end) VALUES (1, 0, 'public', 'things', 0, 9, 7, 1, 8)"
    )
    with target.connect() as locking, target.connect() as other:
        locking.execute("BEGIN")
        locking.execute("LOCK TABLE rollout.lanes, rollout.modes IN ACCESS EXCLUSIVE MODE")
        locking.execute("SELECT pg_advisory_xact_lock(hashtext('rollout install'))")
        other.execute("SET lock_timeout = '1ms'")
        install(other)
        assert other.info.transaction_status.name == "IDLE"
    assert fetch_bool(connection, sql.SQL("(SELECT next_block = 7 FROM rollout.lanes)"))


def test_a_question_without_an_answer_is_answered_no(connection: Connection) -> None:
    assert fetch_bool(connection, sql.SQL("NULL::boolean")) is False
    assert fetch_bool(connection, sql.SQL("true")) is True


def test_the_engines_sessions_can_be_distinguished_from_the_applications(target: Target) -> None:
    with target.connect() as connection:
        assert connection.execute("SHOW application_name").fetchone() == ("rollout",)
        assert connection.autocommit


def test_programs_of_postgresql_find_the_target_by_their_environment() -> None:
    target = Target({"dbname": "d", "user": "u", "host": "h", "port": 5433})
    assert target.environment == {"PGDATABASE": "d", "PGUSER": "u", "PGHOST": "h", "PGPORT": "5433"}


def test_libpq_options_of_the_project_reach_the_target_and_its_programs(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"sslmode": "require", "pool": True, "assume_role": "owner", "connect_timeout": 5}
    monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", options)
    target = target_of("production")
    given = {name: target.parameters.get(name) for name in ("sslmode", "pool", "connect_timeout")}
    assert given == {"sslmode": "require", "pool": None, "connect_timeout": 5}
    assert target.environment["PGSSLMODE"] == "require"
    assert target.environment["PGOPTIONS"] == "-c role=owner"
