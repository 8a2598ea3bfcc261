"""Queues work again, and continues rollbacks of several phases, whose worker died."""

from typing import Any

from rollout import queue
from rollout.journal import activity_log
from rollout.journal.events import Event
from rollout.models import ChainState, Leased, RollbackChain
from rollout.runner.rollback_chains import continue_chain
from rollout.watchdog.isolation import isolated
from rollout.worker.leased_jobs import LeasedJob
from rollout.worker.leases import LEASE_SECONDS, take_back


def bring_back(kind: type[LeasedJob[Any]]) -> None:
    """Queue work of a kind again whose lease has run out."""
    for work in kind.lost():
        with isolated(f"Bringing back {work}"):
            dead = work.worker
            if take_back(work):
                queue.send_work(work)
                if dead:
                    _record(work, dead)


def continue_chains() -> None:
    """Continue rollbacks of several phases whose worker died between two of them."""
    for chain in RollbackChain.objects.filter(state=ChainState.RUNNING).select_related("rollout"):
        with isolated(f"Continuing {chain}"):
            continue_chain(chain, source="watchdog")


def _record(work: Leased, dead: str) -> None:
    activity_log.record(
        Event.BROUGHT_BACK,
        f"{work.title} moves to another worker: {dead} was unresponsive for {LEASE_SECONDS} s.",
        on=work,
        actor="watchdog",
        source="watchdog",
        worker=dead,
    )
