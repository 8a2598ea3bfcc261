"""Why somebody does what they answer for: a text that stays in sight, and so is short."""

from rollout.journal.actors import Refused
from rollout.logs.texts import is_storable

LONGEST_REASON = 1_000
"""Characters: it is shown on pages, and kept for ever in the audit log."""


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
        raise Refused("The reason has a character that no text has (NUL). Type it again.")
    return reason
