"""A table whose texts people decide on, before phase 2 and after it."""

import pytest

from rollout.engine.target import Connection, Target
from tests.engine.actions import do_until
from tests.engine.mappings import (
    PLAN,
    fill_table,
)


@pytest.fixture
def unmapped(connection: Connection) -> Connection:
    """The legacy table alone."""
    fill_table(connection)
    return connection


@pytest.fixture
def mapped(target: Target, unmapped: Connection) -> Connection:
    """Every row filled, the triggers on."""
    do_until(target, unmapped, PLAN, "backfill")
    return unmapped
