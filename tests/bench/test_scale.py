"""The benchmark of sizes, run small: every figure of every size, and what there is no room for."""

import json

import pytest

from bench import scale_report
from tests.bench.runs import run_bench

pytestmark = pytest.mark.xdist_group("bench")

FIGURES = {
    *(f"{name}_rows_per_s" for name in scale_report.SPEEDS),
    *("worker_bytes", "checkpoint_bytes", "journal_bytes", "disk_bytes_a_row", "pages"),
}


def test_the_last_line_has_every_figure_of_the_sizes_that_there_is_room_for() -> None:
    too_many = 10**12
    done = run_bench(
        *("bench.scale", "--requests", "2", "--rows", "1000", str(too_many)), timeout=300
    )
    assert f"{too_many:,} rows need about" in done.stderr.splitlines()[0]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["left_out"] == [too_many]
    ((rows, figures),) = report["sizes"].items()
    assert rows == "1000"
    assert set(figures) == FIGURES
    assert all(figures[name] > 0 for name in FIGURES - {"pages"})
    assert all(page["p95_ms"] > 0 for page in figures["pages"].values())
    assert {target["met"] for target in report["targets"].values()} <= {True, False}


def test_a_speed_that_falls_with_the_size_is_missed() -> None:
    pages = {"/rollout/": {"p95_ms": 20.0}, "/properties/": {"p95_ms": 120.0}}
    small = {f"{name}_rows_per_s": 100.0 for name in scale_report.SPEEDS}
    results = {
        1: {**small, "worker_bytes": 10, "pages": pages},
        20: {**small, "fill_rows_per_s": 70.0, "worker_bytes": 10, "pages": pages},
    }
    met = {name: target["met"] for name, target in scale_report.targets(results).items()}
    assert met == {
        "fill_speed_share": False,
        "archive_speed_share": True,
        "restore_speed_share": True,
        "audit_speed_share": True,
        "worker_bytes": True,
        "console_p95_ms": True,
        "application_p95_ms": False,
    }
