"""How much WAL a backfill writes, and what the server's settings make of it."""

import pytest

from rollout.engine import preflight, wal_compression
from rollout.engine.preflight import Item, wal
from rollout.engine.preflight.item import Scope
from rollout.engine.target import Connection, Target
from rollout.engine.wal_compression import SessionCompression
from tests.engine.samples import BIGINT

ROLE = "compresses_wal"


def _item(target: Target, name: str) -> Item:
    (item,) = [i for i in preflight.run(target, BIGINT.plan, 2).items if i.name == name]
    return item


def test_a_small_table_forces_no_checkpoint(target: Target, connection: Connection) -> None:
    item = _item(target, "checkpoints")
    assert item.level == "pass"
    assert "max_wal_size is" in item.evidence


def test_a_max_wal_size_too_small_for_the_table_is_named_with_the_value_to_set(
    target: Target, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if each byte of the table made so much WAL: one page counts as a table of gigabytes.
    (size,) = connection.execute("SELECT pg_table_size('things')").fetchone() or (0,)
    monkeypatch.setattr(wal, "WAL_SHARE", 3 * 1024**3 / size)
    item = _item(target, "checkpoints")
    assert item.level == "warns"
    assert "forces about" in item.evidence
    assert "ALTER SYSTEM SET max_wal_size = '6GB'" in item.advice
    assert "ALTER SYSTEM SET checkpoint_timeout = '15min'" in item.advice


def test_the_value_to_set_has_an_upper_limit(
    target: Target, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal, "WAL_SHARE", 1e9)
    assert "ALTER SYSTEM SET max_wal_size = '16GB'" in _item(target, "checkpoints").advice


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
    connection.execute(f"CREATE ROLE {ROLE}")
    try:
        connection.execute(f"SET ROLE {ROLE}")
        SessionCompression(connection).follow(others_write=True)
        assert not wal_compression.read(connection).is_on
        item = wal.compression(connection, Scope(BIGINT.plan, 2, []))
        assert item.level == "info"
        assert f"GRANT SET ON PARAMETER wal_compression TO {ROLE}" in item.advice
        connection.execute("RESET ROLE")
        connection.execute(f"GRANT SET ON PARAMETER wal_compression TO {ROLE}")
        connection.execute(f"SET ROLE {ROLE}")
        SessionCompression(connection).follow(others_write=True)
        assert wal_compression.read(connection).is_on
    finally:
        connection.execute("RESET ROLE")
        connection.execute(f"DROP OWNED BY {ROLE}")
        connection.execute(f"DROP ROLE {ROLE}")
