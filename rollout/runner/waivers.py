"""Waivers of mismatches: by whom, why, and until when."""

from datetime import datetime, timedelta

from django.utils import timezone

from rollout import journal
from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused
from rollout.journal.events import Event
from rollout.models import Finding
from rollout.runner.reasons import reason_of

LONGEST_WAIVER = timedelta(days=90)


def waive(
    finding: Finding, *, reason: str, until: datetime, actor: Actor, source: str = "web"
) -> None:
    """Waive a mismatch until a moment: reports count it, and it stops no phase.

    Raises Refused without a reason, or for a moment that is past or further off than 90 days.
    """
    now = timezone.now()
    reason = reason_of(
        reason, missing="Give a reason for the waiver: it is kept in the activity log."
    )
    if until <= now:
        raise Refused("The last day of the waiver is in the past. Choose a later day.")
    if until > now + LONGEST_WAIVER:
        raise Refused(f"A waiver can last at most {LONGEST_WAIVER.days} days.")
    with journal.atomic():
        Finding.objects.filter(pk=finding.pk).update(
            waived_by=actor.get_username(),
            waived_reason=reason,
            waived_at=now,
            waived_until=until,
        )
        activity_log.record(
            Event.MISMATCH_ACCEPTED,
            f"Waived {_named(finding)} until {until:%Y-%m-%d}: {reason}",
            on=finding,
            actor=actor,
            source=source,
        )


def unwaive(finding: Finding, *, actor: Actor, source: str = "web") -> None:
    """Remove a mismatch's waiver. Raises Refused if it has none."""
    with journal.atomic():
        changed = Finding.objects.filter(pk=finding.pk, waived_until__gt=timezone.now()).update(
            waived_until=timezone.now()
        )
        if not changed:
            raise Refused("This mismatch is not waived. Reload the page.")
        activity_log.record(
            Event.ACCEPTANCE_TAKEN_BACK,
            f"Removed the waiver of {_named(finding)}.",
            on=finding,
            actor=actor,
            source=source,
        )


def _named(finding: Finding) -> str:
    return f"{finding.column} of {finding.table} {finding.key}"
