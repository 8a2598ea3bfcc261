"""A session that writes much compresses its WAL where its role may."""

import pytest

from rollout.engine import wal_compression
from rollout.engine.preflight import wal
from rollout.engine.preflight.item import Scope
from rollout.engine.target import Connection
from rollout.engine.wal_compression import SessionCompression
from tests.engine.samples import BIGINT

ROLE = "Compresses WAL"


def test_a_session_compresses_cheaply_all_the_time_and_costly_only_while_others_write(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = SessionCompression(connection)
    is_cheap = wal_compression.read(connection).method == wal_compression.CHEAP
    assert wal_compression.read(connection).is_on is is_cheap
    session.follow(others_write=True)
    assert wal_compression.read(connection).is_on
    session.follow(others_write=False)
    assert wal_compression.read(connection).is_on is is_cheap
    connection.execute("SET wal_compression = off")
    # The one method that every server has stands for the cheap one that some lack.
    monkeypatch.setattr(wal_compression, "CHEAP", "pglz")
    monkeypatch.setattr(wal_compression, "COSTLY", "pglz")
    SessionCompression(connection).follow(others_write=False)
    assert wal_compression.read(connection).setting == "pglz"


def test_a_server_that_compresses_by_itself_keeps_its_setting(connection: Connection) -> None:
    connection.execute("SET wal_compression = 'pglz'")
    session = SessionCompression(connection)
    session.follow(others_write=True)
    session.follow(others_write=False)
    assert wal_compression.read(connection).setting == "pglz"


def test_a_session_compresses_where_its_role_may(connection: Connection) -> None:
    connection.execute(f'CREATE ROLE "{ROLE}"')
    try:
        connection.execute(f'SET ROLE "{ROLE}"')
        SessionCompression(connection).follow(others_write=True)
        assert not wal_compression.read(connection).is_on
        item = wal.compression(connection, Scope(BIGINT.plan, 2, []))
        assert item.level == "info"
        statement = f'GRANT SET ON PARAMETER wal_compression TO "{ROLE}"'
        assert f"{statement}: " in item.advice
        connection.execute("RESET ROLE")
        connection.execute(statement.encode())
        connection.execute(f'SET ROLE "{ROLE}"')
        SessionCompression(connection).follow(others_write=True)
        assert wal_compression.read(connection).is_on
    finally:
        connection.execute("RESET ROLE")
        connection.execute(f'DROP OWNED BY "{ROLE}"')
        connection.execute(f'DROP ROLE "{ROLE}"')
