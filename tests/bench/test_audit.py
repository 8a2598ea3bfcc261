"""The benchmark of the audit, run small: every way finds every row right, and leaves nothing."""

import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.processes import completed


@pytest.mark.bench
def test_the_last_line_has_the_seconds_of_every_way() -> None:
    # Not below pytest's own: the next pytest closes that to the server, which is another user.
    with TemporaryDirectory(prefix="rollout-tests-") as directory:
        Path(directory).chmod(0o711)
        done = completed(
            [sys.executable, "-m", "bench.audit", "--rows", "5000"],
            env={**os.environ, "TMPDIR": directory},
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert list(Path(directory).iterdir()) == []
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures.pop("rows") == 5000
    assert set(figures) == {"count_star_s", "audit_s", "join_per_row_s", "md5_checksum_s"}
    assert all(seconds > 0 for seconds in figures.values())
