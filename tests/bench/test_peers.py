"""The benchmark beside peers, run small, where no package can be installed."""

import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.processes import completed

pytestmark = pytest.mark.xdist_group("bench")


def test_peers_that_do_not_run_are_named_and_the_others_lose_no_row() -> None:
    # Not below pytest's own: the next pytest closes that to the server, which is another user.
    with TemporaryDirectory(prefix="rollout-tests-") as directory:
        Path(directory).chmod(0o711)
        done = completed(
            [sys.executable, "-m", "bench.peers", "--rows", "1500", "--traffic-seconds", "0.2"],
            env={
                **os.environ,
                "TMPDIR": directory,
                "PEERS_HOME": directory,
                "PEERS_PYTHON": f"{directory}/no-such-python",
            },
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert list(Path(directory).iterdir()) == []
    figures = json.loads(done.stdout.splitlines()[-1])
    assert set(figures["does_not_run"]) == {"django-maintenance-tasks", "data-diff"}
    assert all("no-such-python" in reason for reason in figures["does_not_run"].values())
    assert set(figures["backfills"]) == set(figures["kills"]) == {"rollout", "RunPython"}
    assert all(backfill["rows_per_s"] > 0 for backfill in figures["backfills"].values())
    for name, kill in figures["kills"].items():
        assert (kill["committed_twice"], kill["lost"]) == (0, 0), name
    assert figures["kills"]["RunPython"]["done_again"] >= 500, "its transaction was rolled back"
    assert figures["comparisons"]["full audit"]["wrong_rows_seen"] == 7
