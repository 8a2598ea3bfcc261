"""Rows that mismatched are read again: what is right by then was a write in flight."""

import threading

import pytest

from rollout.engine.audit import AuditResult
from rollout.engine.control import Interrupted
from rollout.engine.target import Connection, Target
from tests.engine.actions import NoControl, audit
from tests.engine.audit.filled_tables import filled
from tests.engine.samples import BIGINT, past_triggers

PLAN = BIGINT.plan


class WritesMeanwhile(NoControl):
    """Somebody else's statement, once, after the scan and before the second look."""

    def __init__(self, target: Target, statement: str) -> None:
        super().__init__()
        self.target, self.statement = target, statement

    def raise_if_stopped(self) -> None:
        self.checks = getattr(self, "checks", 0) + 1
        if self.checks == 2:
            with self.target.connect() as connection:
                connection.execute(self.statement.encode())


class TestWritesInFlight:
    def test_a_row_that_is_right_a_moment_later_is_transient_and_no_mismatch(
        self, target: Target, connection: Connection
    ) -> None:
        filled(target, connection, 30)
        with past_triggers(connection):
            connection.execute("UPDATE things SET kind_id = -1, is_open = false WHERE id IN (3, 4)")
        connection.execute("UPDATE things SET is_open = false WHERE id = 5")
        control = WritesMeanwhile(
            target, "UPDATE things SET kind_id = NULL, is_open = NULL WHERE id IN (3, 5)"
        )
        result = audit(target, PLAN, control=control, recheck_after=0.1)
        assert result.transient == 2
        assert result.rows == 30
        assert {m.key for m in result.mismatches} == {"4"}
        for translation in result.translations:
            assert sum(translation.categories.values()) == 30
        assert result.categories == _recounted(result, {"4"}, 30)

    def test_a_row_that_is_gone_by_then_is_transient(
        self, target: Target, connection: Connection
    ) -> None:
        filled(target, connection, 5)
        with past_triggers(connection):
            connection.execute("UPDATE things SET kind_id = -1 WHERE id = 2")
        control = WritesMeanwhile(target, "DELETE FROM things WHERE id = 2")
        result = audit(target, PLAN, control=control, recheck_after=0.1)
        assert (result.transient, result.mismatched, result.rows) == (1, 0, 5)

    def test_nothing_is_read_again_when_not_every_mismatch_was_kept(
        self, target: Target, connection: Connection
    ) -> None:
        filled(target, connection, 9)
        with past_triggers(connection):
            connection.execute("UPDATE things SET kind_id = -1")
        control = WritesMeanwhile(target, "DELETE FROM things")
        result = audit(target, PLAN, control=control, recheck_after=0.1, store=5)
        assert (result.transient, result.mismatched) == (0, 9)


def _recounted(result: AuditResult, mismatched: set[str], rows: int) -> dict[str, int]:
    """Orphans, transient rows and the rest, whose spelling decides."""
    rest = dict(result.categories)
    assert rest.pop("orphan") == len(mismatched)
    assert rest.pop("transient") == 2
    assert sum(rest.values()) == rows - 3
    return result.categories


def test_another_thread_may_stop_it(target: Target, connection: Connection) -> None:
    """The second look waits, and can be interrupted meanwhile."""
    filled(target, connection, 3)
    with past_triggers(connection):
        connection.execute("UPDATE things SET kind_id = -1")
    stop = threading.Event()

    class Asked(NoControl):
        def raise_if_stopped(self) -> None:
            if stop.is_set():
                raise Interrupted("Enough.")
            stop.set()

    with pytest.raises(Interrupted):
        audit(target, PLAN, control=Asked(), recheck_after=30)
