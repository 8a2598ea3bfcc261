"""How often a web process looks for garbage."""

import gc

# Container objects: a page makes and drops some thousands, nearly all without cycles. Python's own
# thresholds led to a full collection within thirty pages, which took 40 to 80 ms of one of them.
THRESHOLDS = (10_000, 20, 50)


def collect_seldom() -> None:
    """Leave what the process has loaded out of collections, and make the others rare."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
