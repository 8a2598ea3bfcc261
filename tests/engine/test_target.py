"""The engine's own schema in a target, and how programs reach it."""

import threading

from psycopg import sql

from rollout.engine.target import Connection, Target, ask, install


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
    assert ask(connection, sql.SQL("to_regclass('rollout.lanes') IS NOT NULL"))


def test_a_question_without_an_answer_is_answered_no(connection: Connection) -> None:
    assert ask(connection, sql.SQL("NULL::boolean")) is False
    assert ask(connection, sql.SQL("true")) is True


def test_the_engines_sessions_can_be_told_from_the_applications(target: Target) -> None:
    with target.connect() as connection:
        assert connection.execute("SHOW application_name").fetchone() == ("rollout",)
        assert connection.autocommit


def test_programs_of_postgresql_find_the_target_by_their_environment() -> None:
    target = Target({"dbname": "d", "user": "u", "host": "h", "port": 5433})
    assert target.environment == {
        "PGDATABASE": "d",
        "PGUSER": "u",
        "PGHOST": "h",
        "PGPORT": "5433",
    }
