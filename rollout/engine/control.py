"""How the engine learns that it must stop: it asks at every safe point."""

import time
from typing import Protocol

from rollout.engine.statement_activities import StatementActivity
from rollout.engine.target import Connection


# No RolloutError: it is control flow, and nobody who reports errors to people may catch it.
class Interrupted(Exception):
    """The work was asked to stop, or is no longer this worker's; nothing half done remains."""


class Control(Protocol):
    """What the engine needs from its caller."""

    def raise_if_stopped(self) -> None:
        """Raises Interrupted if the work must stop here."""

    def report_wait(self, reason: str) -> None:
        """Report what the work waits for; an empty text ends the wait."""

    def report_activity(self, activity: StatementActivity | None) -> None:
        """Report the activity of the present statement; None ends it. Called from any thread."""

    def attach(self, connection: Connection) -> None:
        """Take the connection whose statement is cancelled together with the work."""


class NullControl:
    """The control of work that nobody interrupts."""

    def raise_if_stopped(self) -> None:
        """Nobody asks it to stop."""

    def report_wait(self, reason: str) -> None:
        """Nobody wants to know."""

    def report_activity(self, activity: StatementActivity | None) -> None:
        """Nobody looks on."""

    def attach(self, connection: Connection) -> None:
        """Nobody cancels a statement."""


def pause(seconds: float, control: Control) -> None:
    """Sleep, and ask all the while whether the work is to stop. Raises Interrupted."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        control.raise_if_stopped()
        time.sleep(min(left, 0.1))
