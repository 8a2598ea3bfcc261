"""The benchmark beside peers, run small, where no package can be installed."""

import json

import pytest

from tests.bench.runs import run_bench

pytestmark = pytest.mark.xdist_group("bench")


def test_peers_that_do_not_run_are_named_and_the_others_lose_no_row() -> None:
    done = run_bench(
        *("bench.peers", "--rows", "1500", "--traffic-seconds", "0.2"),
        timeout=300,
        PEERS_HOME="{home}",
        PEERS_PYTHON="{home}/no-such-python",
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    assert set(figures["does_not_run"]) == {"django-maintenance-tasks", "data-diff"}
    assert all("no-such-python" in reason for reason in figures["does_not_run"].values())
    assert set(figures["backfills"]) == set(figures["kills"]) == {"rollout", "RunPython"}
    assert all(backfill["rows_per_s"] > 0 for backfill in figures["backfills"].values())
    for name, kill in figures["kills"].items():
        assert (kill["committed_twice"], kill["lost"]) == (0, 0), name
    assert figures["kills"]["RunPython"]["done_again"] >= 500, "its transaction was rolled back"
    assert figures["comparisons"]["full audit"]["wrong_rows_seen"] == 7
