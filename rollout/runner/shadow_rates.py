"""How many of the application's reads are repeated by both schemas."""

import math

from rollout import journal
from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused
from rollout.journal.events import Event
from rollout.models import Rollout

# One read in a hundred thousand; less is a typing mistake.
SMALLEST_PERCENT = 0.001


def set_shadow_percent(
    rollout: Rollout, percent: float, *, actor: Actor, source: str = "web"
) -> None:
    """Set the share of reads; every process heeds it within seconds. Raises Refused.

    Setting it to what it is changes nothing, and is no entry of the log.
    """
    if not math.isfinite(percent) or not 0 <= percent <= 100:
        raise Refused("The sample rate must be 0 to 100 %.")
    if 0 < percent < SMALLEST_PERCENT:
        raise Refused(
            f"The smallest sample rate is {SMALLEST_PERCENT:g} %. Use that, or 0 for no reads."
        )
    with journal.atomic():
        before = Rollout.objects.select_for_update(no_key=True).get(pk=rollout.pk).shadow_percent
        rollout.shadow_percent = percent
        if percent == before:
            return
        rollout.save(update_fields=["shadow_percent"])
        activity_log.record(
            Event.SHADOW_SHARE_CHANGED,
            f"Changed the sample rate of shadow reads from {before:g} % to {percent:g} %.",
            on=rollout,
            actor=actor,
            source=source,
            before=before,
            after=percent,
        )
