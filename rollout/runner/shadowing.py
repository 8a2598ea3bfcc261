"""How many of the application's reads are answered by both shapes."""

import math

from rollout import journal, log
from rollout.events import Event
from rollout.models import Rollout
from rollout.runner.verbs import Actor, Refused


def set_shadow_percent(
    rollout: Rollout, percent: float, *, actor: Actor, source: str = "web"
) -> None:
    """Set the share of reads; every process heeds it within seconds. Raises Refused."""
    if not math.isfinite(percent) or not 0 <= percent <= 100:
        raise Refused("0 to 100 percent of the reads may be answered by both shapes.")
    with journal.atomic():
        before = Rollout.objects.select_for_update(no_key=True).get(pk=rollout.pk).shadow_percent
        rollout.shadow_percent = percent
        rollout.save(update_fields=["shadow_percent"])
        log.record(
            Event.SHADOW_SHARE_CHANGED,
            f"Set shadow reads from {before:g} % to {percent:g} % of the reads.",
            actor=actor.get_username(),
            source=source,
            rollout=rollout,
            data={"before": before, "after": percent},
        )
