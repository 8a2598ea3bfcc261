"""The benchmark, run small: what it prints is complete, and it leaves nothing behind."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from config.home import ROOT
from config.processes import MARK

# One worker runs it, for all the tests of the module.
pytestmark = pytest.mark.xdist_group("bench")

LOOPS = {
    *("rollout", "single_update", "keyset", "trigger_touch", "bulk_update"),
    "table_rewrite",
}
APPLICATION = {"app_p50_ms", "app_p95_ms", "app_p99_ms", "app_max_ms", "app_errors"}
FIGURES = APPLICATION | {
    *("rows_per_s", "wal_bytes", "table_growth", "index_growth", "hot_share", "share"),
}
TARGETS = {
    *("speed_to_keyset", "speed_to_single_update", "wal_to_single_update", "table_growth"),
    *("app_p99_to_idle", "app_p99_to_busy_core", "app_errors", "path_ratio"),
}


@pytest.fixture(scope="module")
def bench() -> Iterator[tuple[Path, str]]:
    """The directory it worked in, and what it printed."""
    # Not below pytest's own: the next pytest closes that to the server, which is another user.
    directory = Path(tempfile.mkdtemp(prefix="rollout-tests-"))
    directory.chmod(0o711)
    try:
        yield directory, _run(directory)
    finally:
        shutil.rmtree(directory)


def _run(directory: Path) -> str:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bench.backfill", "--rows", "8000"),
            *("--traffic-seconds", "0.5", "--keys", "bigint"),
        ],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(directory)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def report(bench: tuple[Path, str]) -> dict[str, Any]:
    reports = json.loads(bench[1].splitlines()[-1])
    assert [one["key"] for one in reports] == ["bigint"]
    report: dict[str, Any] = reports[0]
    return report


def test_the_last_line_has_every_figure_of_every_loop(report: dict[str, Any]) -> None:
    assert report["rows"] == 8_000
    assert set(report["loops"]) == LOOPS
    for name, figures in report["loops"].items():
        assert set(figures) >= FIGURES, name
        assert figures["rows_per_s"] > 0
        assert figures["app_errors"] == 0, name
    assert set(report["idle"]) >= APPLICATION
    assert set(report["busy_core"]) >= APPLICATION
    assert report["bare"]["rows_per_s"] > 0
    assert report["path_ratio"] > 0


def test_each_target_says_what_was_reached(report: dict[str, Any]) -> None:
    assert set(report["targets"]) == TARGETS
    for target in report["targets"].values():
        assert set(target) & {"at_least", "at_most"}
        assert target["reached"] >= 0
        assert target["met"] in (True, False)


def test_nothing_of_it_is_left(bench: tuple[Path, str]) -> None:
    directory, _printed = bench
    assert list(directory.iterdir()) == []
    assert not [process for process in psutil.process_iter() if _is_of(process, directory)]


def _is_of(process: psutil.Process, directory: Path) -> bool:
    try:
        return str(directory) in process.environ().get(MARK, "")
    except (psutil.Error, OSError):
        return False
