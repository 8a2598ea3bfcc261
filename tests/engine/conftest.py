import pytest

from rollout.engine import ddl
from rollout.engine.target import Connection
from tests.engine.samples import BIGINT


@pytest.fixture
def things(connection: Connection) -> None:
    """A table without rows."""
    BIGINT.create(connection)


@pytest.fixture
def few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement that waits for a lock soon gives up."""
    monkeypatch.setattr(ddl, "MAX_ATTEMPTS", 2)
    # Long enough for the watch to connect on a busy machine.
    monkeypatch.setattr(ddl, "FIRST_LOCK_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(ddl, "MAX_PAUSE_SECONDS", 0.01)
