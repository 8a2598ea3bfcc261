import pytest


@pytest.fixture(autouse=True)
def table(request: pytest.FixtureRequest) -> None:
    """A table of one thing, unless the test makes a scenario of its own."""
    if "scenario" not in request.fixturenames:
        request.getfixturevalue("one_thing")
