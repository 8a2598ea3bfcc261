"""Tests of the processes that are forks of one in which the site is loaded."""

import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.support.intervals import shorter
from tests.support.preloaded import Forked, preloaded_for
from tests.support.processes import PATIENCE, wait_until

TELLS = """
import json, os, sys
from django.conf import settings
from django.db import connection
print(json.dumps({
    "arguments": sys.argv,
    "database": connection.settings_dict["NAME"],
    "links": settings.ROLLOUT["BASE_URL"],
    "loaded": "rollout.models" in sys.modules,
    "own": os.environ.get("OWN"),
    "session": os.getsid(0) == os.getpid(),
}))
sys.exit(int(os.environ.get("OWN", "0")))
"""
PRINTS_INTERVALS = """
import django
django.setup()
from rollout.watchdog import duties, loop
print(loop.LOOK_SECONDS, loop.LOOK_SECONDS_AT_REST, duties.SELDOM_AT_REST)
"""
WAITS = "import signal; print('waits', flush=True); signal.pause()"


def started(directory: Path, program: str, **variables: str) -> Forked:
    (directory / "program.py").write_text(program)
    env = {**os.environ, "PYTHONUNBUFFERED": "1", **variables}
    with (directory / "output").open("wb") as output:
        return preloaded_for(env).start(
            [str(directory / "program.py"), "an argument"], env=env, output=output, errors=output
        )


@pytest.mark.parametrize(
    ("variables", "is_loaded"),
    [
        ({"OWN": "3", "DATABASE_URL": "postgresql://somebody@localhost/elsewhere"}, True),
        ({"DEMO": "1"}, True),
        ({"ROLLOUT_BASE_URL": "https://console.example"}, False),
        ({"PYTHONHASHSEED": "1"}, False),
    ],
)
def test_a_process_has_its_own_settings_and_other_modules_where_these_differ(
    tmp_path: Path, variables: dict[str, str], is_loaded: bool
) -> None:
    process = started(tmp_path, TELLS, **variables)
    assert process.wait(PATIENCE) == int(variables.get("OWN", "0"))
    printed = json.loads((tmp_path / "output").read_text())
    assert printed["loaded"] == is_loaded
    assert printed["arguments"] == [str(tmp_path / "program.py"), "an argument"]
    assert printed["links"] == variables.get("ROLLOUT_BASE_URL", "")
    assert printed["own"] == variables.get("OWN")
    assert printed["session"]
    if "DATABASE_URL" in variables:
        assert printed["database"] == "elsewhere"


@pytest.mark.parametrize("variables", [{}, {"PYTHONHASHSEED": "1"}], ids=["forked", "fresh"])
def test_a_process_has_the_shorter_intervals_of_its_test_alone(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    intervals = {
        "rollout.watchdog.loop.LOOK_SECONDS": 0.25,
        "rollout.watchdog.duties.SELDOM_AT_REST": 3,
    }
    printed = []
    for more in (shorter(intervals), {}):
        process = started(tmp_path, PRINTS_INTERVALS, **more, **variables)
        assert process.wait(PATIENCE) == 0, (tmp_path / "output").read_text()
        printed.append((tmp_path / "output").read_text())
    assert printed == ["0.25 5.0 0:00:03\n", "1.0 5.0 0:00:30\n"]


def test_a_process_is_a_real_one_that_dies_of_a_signal(tmp_path: Path) -> None:
    process = started(tmp_path, WAITS)
    wait_until(lambda: (tmp_path / "output").read_text() == "waits\n")
    assert process.poll() is None
    assert psutil.pid_exists(process.pid)
    process.kill()
    assert process.wait(PATIENCE) == -signal.SIGKILL
    assert not psutil.pid_exists(process.pid)
