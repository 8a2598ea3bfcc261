import pytest

from rollout.engine.target import Connection
from tests.engine.samples import BIGINT


@pytest.fixture(autouse=True)
def table(connection: Connection) -> None:
    BIGINT.create(connection)
    BIGINT.insert(connection, 1, kind="House", state="open")
