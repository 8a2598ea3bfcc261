"""How much WAL a backfill writes, and what the server's settings make of it."""

import pytest

from rollout.engine import preflight
from rollout.engine.preflight import Item, wal
from rollout.engine.target import Connection, Target
from tests.engine.samples import BIGINT


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
