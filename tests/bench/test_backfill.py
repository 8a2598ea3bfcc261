"""The benchmark, run small: what it prints is complete, and it leaves nothing behind."""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from config.processes import MARK
from tests.support.processes import completed

pytestmark = pytest.mark.xdist_group("bench")

LOOPS = {*("rollout", "single_update", "keyset", "trigger_touch", "bulk_update"), "table_rewrite"}
APPLICATION = {"app_p50_ms", "app_p95_ms", "app_p99_ms", "app_max_ms", "app_errors"}
FIGURES = APPLICATION | {
    *("rows_per_s", "wal_bytes", "table_growth", "index_growth", "hot_share", "share")
}
TARGETS = {
    *("speed_to_keyset", "speed_to_single_update", "wal_to_single_update", "table_growth"),
    *("app_p99_to_busy_core", "app_errors", "path_ratio", "speed_beside_to_alone"),
}


def test_the_last_line_has_every_figure_of_every_loop_and_nothing_is_left() -> None:
    # Not below pytest's own: the next pytest closes that to the server, which is another user.
    directory = Path(tempfile.mkdtemp(prefix="rollout-tests-"))
    directory.chmod(0o711)
    try:
        printed = _run(directory)
        assert list(directory.iterdir()) == []
        assert not [process for process in psutil.process_iter() if _is_of(process, directory)]
    finally:
        shutil.rmtree(directory)
    (report,) = json.loads(printed.splitlines()[-1])
    assert (report["key"], report["rows"]) == ("bigint", 8_000)
    assert set(report["loops"]) == LOOPS
    for name, figures in report["loops"].items():
        assert set(figures) >= FIGURES, name
        assert figures["rows_per_s"] > 0
        assert figures["app_errors"] == 0, name
    assert set(report["idle"]) >= APPLICATION
    assert set(report["busy_core"]) >= APPLICATION
    assert report["bare"]["rows_per_s"] > 0
    assert report["path_ratio"] > 0
    assert set(report["targets"]) == TARGETS
    assert len(report["statements"]) == 7
    for of_writer in report["statements"].values():
        assert list(of_writer) == ["insert", "update", "other update"]
        for figures in of_writer.values():
            assert 0 < figures["p50_ms"] <= figures["p99_ms"]
    assert "keys, after the cutover" in printed
    for target in report["targets"].values():
        assert set(target) & {"at_least", "at_most"}
        assert target["reached"] >= 0
        assert target["met"] in (True, False)


def _run(directory: Path) -> str:
    done = completed(
        [
            *(sys.executable, "-m", "bench.backfill", "--rows", "8000"),
            *("--traffic-seconds", "0.2", "--keys", "bigint"),
            *("--statements", "20"),
        ],
        env={**os.environ, "TMPDIR": str(directory)},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _is_of(process: psutil.Process, directory: Path) -> bool:
    try:
        return str(directory) in process.environ().get(MARK, "")
    except (psutil.Error, OSError):
        return False
