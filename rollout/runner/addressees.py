"""The addressees of a request for approval."""

from collections.abc import Collection

from rollout.journal.actors import Actor, Refused
from rollout.journal.environments import home_of
from rollout.models import Rollout, SignOff
from rollout.permissions import people_with


def from_whom(request: SignOff) -> str:
    """The addressees of a request, within a sentence; empty for all who may approve."""
    *others, last = request.addressees or [""]
    if not last:
        return ""
    return f" from {', '.join(others)} and {last}" if others else f" from {last}"


def addressees_of(rollout: Rollout, to: Collection[str], actor: Actor) -> list[str]:
    """The names in order. Raises Refused for one that may not approve, or is the actor's own."""
    if not to:
        return []
    people = people_with("approve_rollout", home_of(rollout.environment))
    may = {user.get_username() for user in people} - {actor.get_username()}
    if wrong := sorted(set(to) - may):
        raise Refused(
            f"Not asked: {', '.join(wrong)}. Choose among those who may approve your request: "
            f"{', '.join(sorted(may)) or 'nobody. Ask an administrator for another lead'}."
        )
    return sorted(set(to))
