"""What a page or a verb asks of a target in turn, it asks in one session."""

from dataclasses import replace

import psycopg
import pytest

from rollout.engine.shared_connections import shared_connections
from rollout.engine.target import Target, TargetGone


def session_of(target: Target) -> int:
    with target.connect_briefly() as connection:
        return connection.info.backend_pid


def is_there(target: Target, session: int) -> bool:
    with target.connect() as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [session]
        ).fetchone()
    return row != (0,)


def test_questions_in_turn_share_a_session_and_others_have_their_own(target: Target) -> None:
    assert session_of(target) != session_of(target)
    with shared_connections():
        first = session_of(target)
        with shared_connections():
            assert session_of(target) == first
        assert session_of(replace(target)) == first
        assert is_there(target, first)
    assert session_of(target) != first


def test_two_questions_at_once_have_a_session_each(target: Target) -> None:
    with shared_connections(), target.connect_briefly() as outer:
        assert session_of(target) != outer.info.backend_pid
        assert outer.execute("SELECT 1").fetchone() == (1,)


def test_the_next_question_has_its_own_limit(target: Target) -> None:
    with shared_connections():
        for seconds in (2, 5):
            with target.connect_briefly(seconds) as connection:
                row = connection.execute("SHOW statement_timeout").fetchone()
                assert row == (f"{seconds}s",)


def test_a_question_that_fails_leaves_its_session_to_none(target: Target) -> None:
    with shared_connections():
        first = session_of(target)
        with pytest.raises(psycopg.errors.DivisionByZero), target.connect_briefly() as connection:
            connection.execute("SELECT 1 / 0")
        assert connection.closed
        assert session_of(target) != first


def test_a_session_with_an_open_transaction_is_left_to_none(target: Target) -> None:
    with shared_connections():
        with target.connect_briefly() as connection:
            connection.execute("BEGIN")
        assert connection.closed


def test_a_database_that_is_gone_is_refused_beside_a_session_that_is_idle(target: Target) -> None:
    with shared_connections():
        session_of(target)
        with pytest.raises(TargetGone):
            session_of(replace(target, gone="It was dropped."))
