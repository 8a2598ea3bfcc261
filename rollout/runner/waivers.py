"""Accepting a mismatch for a while: by whom, why, and until when."""

from datetime import datetime, timedelta

from django.utils import timezone

from rollout import journal
from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused
from rollout.journal.events import Event
from rollout.models import Finding
from rollout.runner.reasons import reason_of

LONGEST = timedelta(days=90)


def waive(
    finding: Finding, *, reason: str, until: datetime, actor: Actor, source: str = "web"
) -> None:
    """Accept a mismatch until a moment: reports count it, and it stops no phase.

    Raises Refused without a reason, or for a moment that is past or further off than 90 days.
    """
    now = timezone.now()
    reason = reason_of(
        reason, missing="Say why this mismatch is accepted: the reason stays in the audit log."
    )
    if until <= now:
        raise Refused("The day until which the mismatch is accepted is past. Choose a later one.")
    if until > now + LONGEST:
        raise Refused(f"A mismatch can be accepted for at most {LONGEST.days} days.")
    with journal.atomic():
        Finding.objects.filter(pk=finding.pk).update(
            waived_by=actor.get_username(),
            waived_reason=reason,
            waived_at=now,
            waived_until=until,
        )
        activity_log.record(
            Event.MISMATCH_ACCEPTED,
            f"Accepted {_named(finding)} until {until:%Y-%m-%d}: {reason}",
            on=finding,
            actor=actor,
            source=source,
        )


def unwaive(finding: Finding, *, actor: Actor, source: str = "web") -> None:
    """Accept a mismatch no longer. Raises Refused when nobody does."""
    with journal.atomic():
        changed = Finding.objects.filter(pk=finding.pk, waived_until__gt=timezone.now()).update(
            waived_until=timezone.now()
        )
        if not changed:
            raise Refused("Nobody accepts this mismatch: there is nothing to take back.")
        activity_log.record(
            Event.ACCEPTANCE_TAKEN_BACK,
            f"{_named(finding)} is no longer accepted",
            on=finding,
            actor=actor,
            source=source,
        )


def _named(finding: Finding) -> str:
    return f"{finding.column} of {finding.table} {finding.key}"
