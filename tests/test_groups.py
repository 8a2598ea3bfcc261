"""What is made once for a group of tests, a running demo or a browser, is made once."""

import os
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from config.home import ROOT


@pytest.mark.xdist_group("of its own")
def test_the_tests_of_a_group_run_in_one_worker(request: pytest.FixtureRequest) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("there is one worker")
    assert request.node.nodeid.endswith("@of its own")


def test_the_site_is_compiled_once_for_all_processes_of_a_run() -> None:
    modules = (ROOT / "rollout").rglob("*.py")
    assert [path.name for path in modules if not Path(cache_from_source(path)).exists()] == []
