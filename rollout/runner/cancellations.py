"""Requests that leased work stops: the worker that holds it clears up."""

from rollout.journal.actors import Refused
from rollout.journal.transitions import move
from rollout.models import Attempted, RunState


def ask_to_cancel(work: Attempted) -> None:
    """Raises Refused if it is being cancelled already, or has ended."""
    if move(work, RunState.CANCELLING):
        return
    work.refresh_from_db()
    if getattr(work, work.state_field) == RunState.CANCELLING:
        raise Refused(f"{work.title} is being cancelled. Wait for it to stop.")
    raise Refused(f"{work.title} has already ended: there is nothing to cancel.")
