"""How often a web process looks for garbage."""

import sys

from config.garbage import THRESHOLDS
from tests.support.processes import completed

ASKS = "import gc, config.wsgi; print(gc.get_freeze_count() > 10_000, gc.get_threshold())"


def test_a_web_process_leaves_what_it_has_loaded_out_of_its_rare_collections() -> None:
    answer = completed([sys.executable, "-c", ASKS])
    assert answer.stdout.split("\n")[-2] == f"True {THRESHOLDS}", answer.stderr
