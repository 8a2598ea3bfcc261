"""The benchmark of the phases, run small: every phase forward and back, and every figure of it."""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.processes import completed

pytestmark = pytest.mark.xdist_group("bench")

FIGURES = {"longest_lock_ms", "app_max_ms", "app_p99_ms", "app_errors"}


def test_the_last_line_has_the_figures_of_every_phase_forward_and_back() -> None:
    # Not below pytest's own: the next pytest closes that to the server, which is another user.
    directory = Path(tempfile.mkdtemp(prefix="rollout-tests-"))
    directory.chmod(0o711)
    try:
        done = completed(
            [sys.executable, "-m", "bench.phases", "--rows", "1000", "--warm-up", "0.3"],
            env={**os.environ, "TMPDIR": str(directory)},
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert list(directory.iterdir()) == [], "nothing is left"
    finally:
        shutil.rmtree(directory)
    report = json.loads(done.stdout.splitlines()[-1])
    assert set(report["phases"]) == {"1", "3", "4"}
    assert set(report["rollback"]["phases"]) == {"4", "3", "2", "1"}
    every = [*report["phases"].values(), *report["rollback"]["phases"].values()]
    for figures in (*every, report["rollback"]):
        assert set(figures) >= FIGURES
        assert figures["app_errors"] == 0
        assert figures["app_max_ms"] >= figures["app_p99_ms"] > 0
    seen = [figures for figures in every if figures["longest_lock"] != "none was seen"]
    assert seen, "a lock that nobody sees was not looked for"
    assert all(0 < figures["longest_lock_ms"] < 5000 for figures in seen)
    assert set(report["targets"]) == {"app_errors", "app_max_ms", "longest_lock_ms"}
