"""The benchmark of the audit, run small: every way finds every row right, and leaves nothing."""

import json

import pytest

from tests.bench.runs import run_bench


@pytest.mark.bench
def test_the_last_line_has_the_seconds_of_every_way() -> None:
    done = run_bench("bench.audit", "--rows", "5000", timeout=120)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures.pop("rows") == 5000
    assert set(figures) == {"count_star_s", "audit_s", "join_per_row_s", "md5_checksum_s"}
    assert all(seconds > 0 for seconds in figures.values())
