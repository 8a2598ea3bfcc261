"""The benchmark of the phases, run small: every phase forward and back, and every figure of it."""

import json

import pytest

from bench.phase_report import Figures, Report, targets
from bench.phases import OF
from tests.bench.runs import run_bench

pytestmark = pytest.mark.xdist_group("bench")

LIMITS = {"app_errors", "app_extra_wait_ms", "longest_lock_ms"}
# A table that is filled and restored.
RESTORED = {
    "properties": "properties",
    "keys": "bench_tickets",
    "partitions": "bench_parted_tickets",
}
FIGURES = {"longest_lock_ms", "app_max_ms", "app_p99_ms", "app_errors"}


@pytest.mark.parametrize("subject", OF)
def test_the_last_line_has_the_figures_of_every_phase_forward_and_back(subject: str) -> None:
    done = run_bench(
        *("bench.phases", "--rows", "1000", "--runs", "1"),
        *("--warm-up", "0.2", "--idle-seconds", "0.3", "--of", subject),
        timeout=300,
    )
    printed = json.loads(done.stdout.splitlines()[-1])
    (report,) = printed["runs"]
    assert set(report["phases"]) == {"1", "2", "3", "4"}
    assert set(report["rollback"]["phases"]) == {"4", "3", "2", "1"}
    every = [*report["phases"].values(), *report["rollback"]["phases"].values()]
    for figures in (*every, report["rollback"]):
        assert set(figures) >= FIGURES
        assert figures["app_errors"] == 0
        assert figures["app_max_ms"] >= figures["app_p99_ms"] > 0
    seen = [figures for figures in every if figures["longest_lock"] != "none was seen"]
    assert seen, "a lock that nobody sees was not looked for"
    assert all(0 < figures["longest_lock_ms"] < 5000 for figures in seen)
    speeds = report["phases"]["2"]["rows_per_s"] | report["rollback"]["phases"]["4"]["rows_per_s"]
    assert all(speed > 0 for speed in speeds.values())
    assert {f"fill {RESTORED[subject]}", f"restore {RESTORED[subject]}"} <= set(speeds)
    assert set(printed["targets"]) == {*LIMITS, "restored_rows_per_s", "restored_share"}


def test_the_longest_wait_is_the_median_of_the_runs_less_what_it_is_without_a_phase() -> None:
    reports = [_report(idle=100, longest=longest) for longest in (300, 9000, 650)]
    waits = targets(reports)["app_extra_wait_ms"]
    assert (waits["reached"], waits["met"]) == (550, False)
    assert targets([_report(idle=100, longest=600)])["app_extra_wait_ms"]["met"]


def test_restoring_is_compared_with_the_fill_of_the_same_table_and_run() -> None:
    report = _report(idle=1, longest=2)
    assert "restored_share" not in targets([report])
    report.forward[2] = _figures(longest=2, rows_per_s={"fill properties": 80_000.0})
    report.backward[4] = _figures(
        longest=2, rows_per_s={"proof properties": 9.0, "restore properties": 60_000.0}
    )
    reached = targets([report])
    assert reached["restored_rows_per_s"] == {"at_least": 50_000, "reached": 60_000, "met": True}
    assert reached["restored_share"] == {"at_least": 0.8, "reached": 0.75, "met": False}


def _report(*, idle: float, longest: float) -> Report:
    return Report(1000, {"app_max_ms": idle}, forward={1: _figures(longest=longest)})


def _figures(*, longest: float, rows_per_s: dict[str, float] | None = None) -> Figures:
    return Figures(
        longest_lock_ms=4,
        longest_lock="ACCESS EXCLUSIVE on properties",
        blind_ms=1,
        app_max_ms=longest,
        app_p99_ms=5,
        app_errors=0,
        app_transactions=100,
        lock_timeouts=0,
        seconds=1,
        steps={},
        slowest_in="",
        rows_per_s=rows_per_s or {},
        held_back={},
    )
