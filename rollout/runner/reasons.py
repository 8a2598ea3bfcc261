"""What people vouch for: the phase that they have read, and the reason that they give."""

from rollout.journal.actors import Refused
from rollout.logs.texts import is_storable
from rollout.plan.plan import Plan

# Characters: it is shown on pages and kept in the activity log.
LONGEST_REASON = 1_000
# What came without a digest: from a page that an earlier version of the console made.
UNKNOWN_READ = "The page is older than this version of the console."


class PhaseChanged(Refused):
    """A phase has changed since somebody read it."""


def refuse_unread(plan: Plan, phase: int, seen: str | None, verb: str) -> None:
    """Raises PhaseChanged where ``seen`` is not the phase's digest; None leaves it open."""
    if seen is not None and seen != plan.digest_of(phase):
        reason = f"Phase {phase} has changed since you read it ({seen})." if seen else UNKNOWN_READ
        raise PhaseChanged(f"{reason} Review phase {phase} again before you {verb}.")


def reason_of(text: str, *, missing: str, shortest: int = 1) -> str:
    """A reason, on one line. Raises Refused: with ``missing`` where it is shorter than that."""
    reason = " ".join(text.split())
    if len(reason) < shortest:
        raise Refused(missing)
    if len(reason) > LONGEST_REASON:
        raise Refused(
            f"The reason has {len(reason):,} characters. Shorten it to {LONGEST_REASON:,}."
        )
    if not is_storable(reason):
        raise Refused("The reason contains a NUL character. Remove it.")
    return reason
