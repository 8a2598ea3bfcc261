import pytest

from tests.engine.samples import BIGINT


@pytest.fixture(autouse=True)
def table(request: pytest.FixtureRequest) -> None:
    """A table of one thing, unless the test makes a scenario of its own."""
    if "scenario" not in request.fixturenames:
        connection = request.getfixturevalue("connection")
        BIGINT.create(connection)
        BIGINT.insert(connection, 1, kind="House", state="open")
