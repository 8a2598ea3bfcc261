"""Shadow reads: while both schemas exist, a share of reads is repeated by both and compared.

An application offers each read after it has answered:

    def search(filters):
        with current_modes(PLAN) as modes:
            page = _search(filters, modes)
        shadow.offer("search", plan=PLAN, table="properties", modes=modes,
                     read=lambda modes: {row.id: {"type_id": row.type} for row in ...})
        return page

A share of what is offered (``Rollout.shadow_percent``) is read again by a thread of its own, on a
connection of its own, by the old path and by the new one in one snapshot. That never changes the
answer: an exception, a slow query or a database that is away is only counted.
"""

import logging
from collections.abc import Callable

from rollout.modes import Modes
from rollout.shadow.answers import Answer
from rollout.shadow.reads import Offer, reader

__all__ = ["Answer", "offer"]

_log = logging.getLogger(__name__)


def offer(
    operation: str,
    *,
    plan: str,
    table: str,
    modes: Modes,
    read: Callable[[Modes], Answer],
    using: str = "default",
) -> None:
    """Offer a read to be compared. Takes microseconds and raises nothing.

    ``read`` does the read by the modes that it is given, in the transaction that is open on
    ``using``, and gives the rows of the answer in their order: the primary key of each (a tuple
    where it has several columns) with what is shown of it. What is shown under the name of one of
    the plan's lookup columns is compared with what the mapping says. ``read`` is called later and
    elsewhere: it must hold on to plain values, not to a request.
    """
    try:
        if modes.write != "legacy":
            reader.offer(Offer(operation, plan, table, using, read))
    except Exception:
        _log.exception("Cannot queue the shadow read of %s", operation)
