"""Whether the watchdog is at rest: nothing is under way, or due before its next look."""

from datetime import timedelta

from django.db.models import Value
from django.db.models.functions import Now

from rollout.models import (
    ChainState,
    Measurement,
    RollbackChain,
    ScheduledStart,
    ScheduleState,
)
from rollout.worker.kinds import KINDS

LOOK_SECONDS = 1.0
# Well below the silence after which a watchdog and a worker count as not running.
LOOK_SECONDS_AT_REST = 5.0
# Longer than the windows of a guardrail are together.
LATELY = timedelta(minutes=1)


def is_at_rest() -> bool:
    """Whether no worker has anything to do, and no start is due before a look that comes late."""
    soon = Now() + timedelta(seconds=LOOK_SECONDS_AT_REST + LOOK_SECONDS)
    starts = ScheduledStart.objects.filter(state=ScheduleState.WAITING, at__lte=soon)
    chains = RollbackChain.objects.filter(state=ChainState.RUNNING)
    first, *others = (
        rows.order_by().values(there=Value(1))[:1]
        for rows in (starts, chains, *(kind.waiting() for kind in KINDS))
    )
    # One statement: it is asked at every look.
    return not first.union(*others, all=True).exists()


def is_measured() -> bool:
    """Whether the application measures: guardrails look at windows of seconds then."""
    return Measurement.objects.filter(at__gt=Now() - LATELY).exists()
