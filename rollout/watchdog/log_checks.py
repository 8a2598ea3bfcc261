"""Verifies the activity log's chain, some entries at a time, so that a page can tell its state."""

from datetime import datetime, timedelta

from django.utils import timezone

from rollout import journal
from rollout.journal import activity_log
from rollout.journal.events import Event
from rollout.models import LogCheck, LogEntry

# A tenth of a second's work: duties that are urgent wait no longer for it.
BATCH_SIZE = 1000
# What was changed behind the log's back is found within a day and the time of a pass.
PASS_EVERY = timedelta(days=1)


def verify_next() -> None:
    """Verify the entries that come next in the pass, and keep what came of it.

    A break is recorded once, so that those who get news of failures learn of it.
    """
    with journal.atomic():
        LogCheck.objects.get_or_create(pk=1)
        check = LogCheck.objects.select_for_update().get(pk=1)
        now = timezone.now()
        if _is_to_begin(check, now):
            check.begun_at, check.wanted_at = now, None
            check.last_entry, check.entries, check.head = 0, 0, activity_log.GENESIS
        before = check.broken_entry
        _verify_batch(check, now)
        check.save()
        if check.broken_entry not in (None, before):
            activity_log.record(
                Event.LOG_BROKEN,
                f"The activity log is broken at entry {check.broken_entry}: {check.reason}. "
                "Compare it with a backup of the journal.",
                actor=activity_log.ENGINE,
                source="watchdog",
                entry=check.broken_entry,
            )


def _is_to_begin(check: LogCheck, now: datetime) -> bool:
    if check.begun_at is None or check.wanted_at is not None:
        return True
    # A pass that has not come to its end continues: the log may be long.
    ended = check.verified_at is not None and check.verified_at >= check.begun_at
    return ended and now - check.begun_at > PASS_EVERY


def _verify_batch(check: LogCheck, now: datetime) -> None:
    batch = list(LogEntry.objects.filter(pk__gt=check.last_entry).order_by("pk")[:BATCH_SIZE])
    verdict = activity_log.verify(batch, after=check.last_entry, head=check.head)
    broken = verdict.broken
    check.entries += verdict.entries - (broken is not None)
    check.last_entry, check.head = verdict.last, verdict.head
    if broken is not None:
        _end(check, now, broken.pk, verdict.reason)
    elif not batch and not _is_there(check):
        _end(check, now, check.last_entry, "it was removed")
    elif len(batch) < BATCH_SIZE:
        _end(check, now, None, "")


def _is_there(check: LogCheck) -> bool:
    """Whether the entry that was verified last is: no later one covers it."""
    last = LogEntry.objects.filter(pk=check.last_entry, hash=check.head)
    return not check.last_entry or last.exists()


def _end(check: LogCheck, now: datetime, broken: int | None, reason: str) -> None:
    check.verified_at, check.verified_entries = now, check.entries
    check.broken_entry, check.reason = broken, reason
