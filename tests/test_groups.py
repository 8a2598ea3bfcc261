"""What is made once for a group of tests, a running demo or a browser, is made once."""

import os

import pytest


@pytest.mark.xdist_group("of its own")
def test_the_tests_of_a_group_run_in_one_worker(request: pytest.FixtureRequest) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("there is one worker")
    assert request.node.nodeid.endswith("@of its own")
