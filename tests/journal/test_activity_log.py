"""The audit log takes entries, gives none back, and shows where somebody got behind its back."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django.db.models import F

from rollout.journal import activity_log
from rollout.journal.events import Event
from rollout.models import LogEntry
from tests.support import rollouts
from tests.support.servers import Database
from tests.support.threads import at_once


def write(entries: int, *, actor: str = "ada") -> list[LogEntry]:
    return [
        activity_log.record(
            Event.PHASE_STARTED,
            f"Entry {number} — über 長屋",
            actor=actor,
            source="web",
            on=rollouts.the_rollout(),
            phase=number % 5,
            rows=number,
            share=0.1 + number,
            names=["b", "a"],
            nothing=None,
        )
        for number in range(entries)
    ]


@contextmanager
def behind_its_back() -> Iterator[None]:
    """What a superuser can do all the same."""
    rollouts.execute("ALTER TABLE rollout_logentry DISABLE TRIGGER USER")
    yield
    rollouts.execute("ALTER TABLE rollout_logentry ENABLE TRIGGER USER")


def test_an_empty_log_holds(db: None) -> None:
    verdict = activity_log.verify()
    assert (verdict.entries, verdict.broken, verdict.head) == (0, None, "0" * 64)


def test_each_entry_s_hash_covers_the_one_before_it(db: None) -> None:
    entries = write(5)
    assert entries[0].previous_hash == "0" * 64
    for before, after in pairwise(entries):
        assert after.previous_hash == before.hash
    verdict = activity_log.verify()
    assert (verdict.entries, verdict.broken) == (5, None)
    assert verdict.head == entries[-1].hash


def test_an_entry_reads_back_as_it_was_hashed(db: None) -> None:
    (entry,) = write(1)
    read = LogEntry.objects.get()
    assert activity_log.digest(read) == entry.hash
    assert read.data == {"rows": 0, "share": 0.1, "names": ["b", "a"], "nothing": None}


def test_a_character_that_the_database_cannot_hold_is_left_out(db: None) -> None:
    activity_log.record(Event.PHASE_FAILED, "a\x00b", actor="ada", source="worker")
    assert LogEntry.objects.get().message == "ab"
    assert activity_log.verify().broken is None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE rollout_logentry SET message = 'x'",
        "UPDATE rollout_logentry SET id = id",
        "DELETE FROM rollout_logentry",
        "TRUNCATE rollout_logentry",
        "TRUNCATE rollout_rollout, rollout_logentry CASCADE",
    ],
)
def test_the_database_refuses_to_change_or_remove_entries(db: None, statement: str) -> None:
    write(2)
    with pytest.raises(DatabaseError, match="The audit log is append-only"), transaction.atomic():
        rollouts.execute(statement)
    assert activity_log.verify().entries == 2


@pytest.mark.parametrize(
    "change",
    [
        {"at": F("at") + timedelta(microseconds=1)},
        {"actor": "eve"},
        {"source": "shell"},
        {"plan": "another"},
        {"environment": "staging"},
        {"phase": 4},
        {"phase": None},
        {"event": "phase done"},
        {"message": "Entry 2 - über 長屋"},
        {"data": {"rows": 3}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_entry_is_named_whatever_was_changed(db: None, change: dict[str, Any]) -> None:
    entries = write(6)
    with behind_its_back():
        LogEntry.objects.filter(pk=entries[2].pk).update(**change)
    verdict = activity_log.verify()
    assert verdict.broken == entries[2]
    assert verdict.reason == "its content was changed"


def test_an_entry_that_was_changed_and_hashed_again_breaks_the_one_after_it(db: None) -> None:
    entries = write(6)
    forged = LogEntry.objects.get(pk=entries[2].pk)
    forged.actor = "eve"
    forged.hash = activity_log.digest(forged)
    with behind_its_back():
        forged.save()
    assert activity_log.verify().broken == entries[3]


@pytest.mark.parametrize(("removed", "named"), [(0, 1), (2, 3), (4, 5)])
def test_the_entry_after_a_removed_one_is_named(db: None, removed: int, named: int) -> None:
    entries = write(6)
    with behind_its_back():
        LogEntry.objects.filter(pk=entries[removed].pk).delete()
    verdict = activity_log.verify()
    assert verdict.broken == entries[named]
    assert verdict.reason == "a previous entry was removed or inserted"


def test_an_entry_that_was_put_in_between_is_named(db: None) -> None:
    entries = write(3)
    copy = LogEntry.objects.get(pk=entries[1].pk)
    copy.pk = entries[1].pk + 5
    with behind_its_back():
        LogEntry.objects.filter(pk=entries[2].pk).update(id=entries[2].pk + 10)
        copy.save(force_insert=True)
    assert activity_log.verify().broken == copy


def test_first_of_two_broken_entries_is_named(db: None) -> None:
    entries = write(6)
    with behind_its_back():
        LogEntry.objects.filter(pk__gte=entries[3].pk).update(actor="eve")
    assert activity_log.verify().broken == entries[3]


def test_an_entry_goes_with_the_transaction_it_tells_of(db: None) -> None:
    write(1)
    with transaction.atomic():
        write(1)
        transaction.set_rollback(True)
    write(1)
    assert (activity_log.verify().entries, activity_log.verify().broken) == (2, None)


def test_writers_at_the_same_moment_keep_one_chain(committed_db: Database) -> None:
    rollouts.the_rollout()

    def in_transactions(name: str) -> None:
        for _ in range(5):
            with transaction.atomic():
                write(4, actor=name)

    at_once(*(lambda name=name: in_transactions(name) for name in "abcd"))
    verdict = activity_log.verify()
    assert (verdict.entries, verdict.broken) == (80, None)
    # Nobody's entries came between those of a transaction.
    actors = "".join(LogEntry.objects.order_by("pk").values_list("actor", flat=True))
    assert all(actors[n : n + 4] in ("aaaa", "bbbb", "cccc", "dddd") for n in range(0, 80, 4))
