"""The watchdog verifies the log's chain some entries at a time, and says what came of it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from rollout.journal import activity_log
from rollout.models import LogCheck, LogEntry
from rollout.watchdog import log_checks
from rollout.watchdog.log_checks import verify_next
from tests.journal.test_activity_log import behind_its_back, write

pytestmark = pytest.mark.django_db


def check() -> LogCheck:
    return LogCheck.objects.get()


def broken_entries() -> list[int]:
    broken = LogEntry.objects.filter(event="log broken").order_by("pk")
    return [entry.data["entry"] for entry in broken]


def test_a_pass_continues_where_it_stopped_and_then_with_each_new_entry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_checks, "BATCH_SIZE", 2)
    entries = write(5)
    seen = []
    for _ in range(3):
        verify_next()
        seen.append((check().entries, check().verified_at is not None))
    assert seen == [(2, False), (4, False), (5, True)]
    assert check().head == entries[-1].hash
    write(1)
    verify_next()
    assert (check().verified_entries, check().broken_entry) == (6, None)


def test_a_break_is_found_and_recorded_once() -> None:
    entries = write(4)
    with behind_its_back():
        LogEntry.objects.filter(pk=entries[2].pk).update(actor="eve")
    for _ in range(3):
        verify_next()
    assert (check().broken_entry, check().reason) == (entries[2].pk, "its content was changed")
    assert check().verified_entries == 2
    assert broken_entries() == [entries[2].pk]
    assert activity_log.verify().broken == entries[2]


def test_a_log_whose_newest_entries_were_removed_is_broken() -> None:
    entries = write(3)
    verify_next()
    with behind_its_back():
        LogEntry.objects.filter(pk=entries[2].pk).delete()
    verify_next()
    assert (check().broken_entry, check().reason) == (entries[2].pk, "it was removed")


@pytest.mark.parametrize("by", ["request", "day"])
def test_a_verified_log_is_verified_again_on_request_and_once_a_day(by: str) -> None:
    entries = write(3)
    verify_next()
    with behind_its_back():
        LogEntry.objects.filter(pk=entries[0].pk).update(actor="eve")
    verify_next()
    assert check().broken_entry is None
    if by == "request":
        LogCheck.objects.update(wanted_at=timezone.now())
    else:
        ago = timezone.now() - timedelta(days=1, seconds=1)
        LogCheck.objects.update(begun_at=ago)
    verify_next()
    assert check().broken_entry == entries[0].pk
    assert check().wanted_at is None
