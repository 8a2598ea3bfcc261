"""Reads of listings that both schemas answer, in the test's own thread."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from django.db import connection
from django.utils import timezone

from properties import catalog
from properties.listings import Filters, Listing
from properties.shapes import PLAN
from rollout import shadow
from rollout.models import (
    Rollout,
    RuleState,
    ShadowTally,
)
from rollout.modes import Modes
from rollout.shadow.answers import Answer
from rollout.shadow.reads import Reader
from rollout.watchdog import guardrails

if TYPE_CHECKING:
    pass


class Here(Reader):
    """A reader without a thread: the test is the thread."""

    def _start(self) -> None:
        pass

    def work_off(self) -> dict[str, int]:
        """Answer all that waits; how often each thing came of it."""
        ShadowTally.objects.all().delete()
        while not self._waiting.empty():
            self.work(wait=0)
        self.flush()
        names = ("same", "differed", "unfilled", "mapped", "transient", "unstable", "failed")
        counts = {n: sum(getattr(tally, n) for tally in ShadowTally.objects.all()) for n in names}
        return {name: count for name, count in counts.items() if count}


def known(here: Here) -> None:
    """Let the share be seen: it is looked for once somebody has asked."""
    here._shares.of(PLAN, "default")
    here._shares.refresh()


def newest() -> Listing:
    return catalog.search(Filters(), size=1).listings[0]


def spoil(listing: Listing) -> None:
    """Give a listing another lookup row than its text says, past all triggers."""
    past_triggers(
        "UPDATE properties SET property_type_id = (SELECT min(id) FROM property_types"
        " WHERE id <> property_type_id) WHERE id = %s",
        listing,
    )


def past_triggers(statement: str, listing: Listing) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(statement, [listing.id])
        cursor.execute("SET session_replication_role = origin")


def offered(here: Here, read: Callable[[Modes], Answer]) -> dict[str, int]:
    """What comes of a read that an application offers."""
    modes = Modes(write="both")
    shadow.offer("look", plan=PLAN, table="properties", modes=modes, read=read)
    return here.work_off()


def judged(rollout: Rollout) -> str:
    """What the rule about wrong values says now."""
    guardrails.evaluate(rollout, now=timezone.now())
    return RuleState.objects.get(rule="wrong-values-before-a-phase").message
