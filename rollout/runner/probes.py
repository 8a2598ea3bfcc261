"""Asks for the plan's smoke tests to be run."""

from rollout import queue
from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused
from rollout.journal.events import Event
from rollout.journal.rollouts import alone_with, refuse_out_of_reach
from rollout.models import Rollout
from rollout.plan import plans


def ask_to_probe(rollout: Rollout, *, actor: Actor, source: str = "web") -> None:
    """Have a worker try every flow of the plan out. Raises Refused."""
    refuse_out_of_reach(rollout)
    flows = plans.get(rollout.plan).flows
    if not flows:
        raise Refused("The plan probes no flow. Add the flows that matter to a phase.")
    with alone_with(rollout):
        activity_log.record(
            Event.PROBES_ASKED_FOR,
            f"Asked to try {len(flows)} flows out.",
            on=rollout,
            actor=actor,
            source=source,
        )
        queue.send_while_fresh("probe", rollout.pk)
