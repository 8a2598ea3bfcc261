"""Continues rollbacks of several phases whose worker died between two of them."""

from rollout.models import ChainState, RollbackChain
from rollout.runner.rollback_chains import continue_chain
from rollout.watchdog.isolation import isolated


def continue_all() -> None:
    """Continue what no worker continued; those with an active run are left alone."""
    for chain in RollbackChain.objects.filter(state=ChainState.RUNNING).select_related("rollout"):
        with isolated(f"Continuing {chain}"):
            continue_chain(chain, source="watchdog")
