"""The benchmark, run small: what it prints is complete, and it leaves nothing behind."""

import json

import pytest

from tests.bench.runs import run_bench

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
    printed = run_bench(
        *("bench.backfill", "--rows", "8000", "--keys", "bigint"),
        *("--traffic-seconds", "0.2", "--statements", "20"),
        timeout=300,
    ).stdout
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
