"""Asks for the plan's smoke tests to be run."""

from rollout import queue
from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused
from rollout.journal.events import Event
from rollout.journal.rollouts import alone_with, refuse_out_of_reach
from rollout.models import Rollout
from rollout.plan import plans


def ask_to_probe(rollout: Rollout, *, actor: Actor, source: str = "web") -> None:
    """Have a worker run every smoke test of the plan. Raises Refused."""
    refuse_out_of_reach(rollout)
    flows = plans.get(rollout.plan).flows
    if not flows:
        raise Refused("The plan defines no smoke tests. Add them to a phase first.")
    with alone_with(rollout):
        activity_log.record(
            Event.PROBES_ASKED_FOR,
            f"Started {len(flows)} smoke test{'' if len(flows) == 1 else 's'}.",
            on=rollout,
            actor=actor,
            source=source,
        )
        queue.send_while_fresh("probe", rollout.pk)
