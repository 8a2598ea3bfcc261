"""Repeats the requests for approval that nobody has answered for long."""

from rollout.journal.actors import Refused
from rollout.journal.moments import by_the_database
from rollout.runner import reminders
from rollout.watchdog.isolation import isolated


def send_due() -> None:
    """Remind of each request whose time has come; those that were answered stay silent."""
    for request in reminders.due(by_the_database()):
        with isolated(f"The reminder of request {request.pk}"):
            try:
                reminders.remind(request, source="watchdog")
            except Refused:
                # Answered, or of a phase that has changed or begun: nobody needs a reminder.
                continue
