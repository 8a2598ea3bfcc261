"""Asks leased work to stop: whoever holds it, or has its message before them, clears up."""

from rollout.journal.actors import Refused
from rollout.models import Attempted, RunState
from rollout.worker.transitions import move


def ask_to_cancel(work: Attempted) -> None:
    """Raises Refused where it is being cancelled already, or has come to its end."""
    if move(work, RunState.CANCELLING):
        return
    work.refresh_from_db()
    if getattr(work, work.state_field) == RunState.CANCELLING:
        raise Refused(f"{work.title} is being cancelled. Wait for it to stop.")
    raise Refused(f"{work.title} has already ended: there is nothing to cancel.")
