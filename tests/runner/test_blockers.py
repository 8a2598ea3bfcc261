"""A phase that waits shows for whom, live; and a lead takes that session out of its way."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from io import StringIO

import psycopg
import pytest
from django.core.management import call_command

from rollout import runner
from rollout.models import LogEntry, PhaseRun, Rollout, RunState, StepRun
from rollout.runner.blockers import BlockedStep
from tests.console import journal
from tests.support import rollouts
from tests.support.processes import wait_until

HOLDS = "LOCK TABLE properties IN ACCESS SHARE MODE"


@pytest.fixture
def waiting(prepared: Rollout) -> Iterator[PhaseRun]:
    """Phase 1, that waits for somebody's forgotten transaction."""
    with rollouts.target() as app:
        app.execute("SET application_name = 'a report'")
        run = rollouts.start(prepared, 1)
        app.execute("BEGIN")
        app.execute(HOLDS)
        thread = threading.Thread(target=rollouts.work_in_a_thread)
        thread.start()
        try:
            wait_until(lambda: _who_waits(prepared) is not None)
            yield run
        finally:
            if not app.broken and not app.closed:
                with_suppressed(app)
            thread.join()


def with_suppressed(app: psycopg.Connection[tuple[object, ...]]) -> None:
    try:
        app.execute("ROLLBACK")
    except psycopg.Error:
        """Somebody has ended it."""


def _who_waits(rollout: Rollout) -> BlockedStep | None:
    blocked = runner.blocked_step(rollout)
    return blocked if blocked and blocked.activity.blockers else None


def shell(*arguments: str) -> tuple[int, str, str]:
    out, err = StringIO(), StringIO()
    with pytest.raises(SystemExit) as exited:
        call_command("rollout", *arguments, stdout=out, stderr=err)
    return int(exited.value.code or 0), out.getvalue(), err.getvalue()


def test_a_blocking_session_is_shown_while_the_step_waits_and_ended_from_the_page(
    waiting: PhaseRun,
) -> None:
    rollout = waiting.rollout
    lead, engineer = journal.browser_of("lead"), journal.browser_of("engineer")
    blocked = _who_waits(rollout)
    assert blocked is not None
    (blocker,) = blocked.activity.blockers
    for page in (journal.PAGE, f"{journal.PAGE}phases/1/"):
        text = journal.fragment_of(lead, page)
        assert "ACCESS EXCLUSIVE on properties" in text
        assert "of 30" in text
        assert "Lock timeout" in text
        assert "ACCESS SHARE on properties" in text
        assert HOLDS in text
        assert "a report" in text
        assert f"/blockers/{blocker.pid}/" in text
    assert "/blockers/" not in journal.text_of(engineer, journal.PAGE)

    code, out, _err = shell("blockers", rollout.plan)
    assert code == 0
    assert f"PID {blocker.pid} (a report, idle in transaction" in out
    data = json.loads(shell("blockers", rollout.plan, "--json")[1])
    assert data["blockers"][0]["query"] == HOLDS
    code, _out, err = shell("blockers", rollout.plan, "--cancel", str(blocker.pid))
    assert (code, "runs no query to cancel" in err) == (1, True)
    code, _out, err = shell("blockers", rollout.plan, "--end", "1")
    assert (code, "does not block phase 1" in err) == (1, True)

    address = f"{journal.PAGE}blockers/{blocker.pid}/"
    asks = journal.text_of(lead, address, began_at=blocker.began_at)
    assert f"Terminate session {blocker.pid}" in asks
    assert HOLDS in asks
    assert 'value="cancel"' not in asks, "it is idle"
    assert "This session can't be terminated" in journal.text_of(lead, address, began_at="another")
    assert not LogEntry.objects.filter(event__startswith="blocker").exists()

    press = {"began_at": blocker.began_at, "how": "end"}
    text = lead.post(address, press, follow=True).content.decode()
    assert "no longer blocks" in text
    wait_until(lambda: rollouts.state_of(waiting) == RunState.DONE)
    entry = LogEntry.objects.get(event="blocker ended")
    assert entry.actor == "lead"
    assert entry.data["query"] == HOLDS
    assert entry.data["pid"] == blocker.pid
    assert not StepRun.objects.exclude(activity=None).exists()
    text = lead.post(address, press, follow=True).content.decode()
    assert "no action was taken" in text


def test_a_wait_ends_on_the_page_when_the_transaction_does(waiting: PhaseRun) -> None:
    blocked = _who_waits(waiting.rollout)
    assert blocked is not None
    with rollouts.target() as other:
        other.execute("SELECT pg_terminate_backend(%s)", [blocked.activity.blockers[0].pid])
    wait_until(lambda: rollouts.state_of(waiting) == RunState.DONE)
    assert runner.blocked_step(waiting.rollout) is None
    assert "Blocked by" not in journal.fragment_of(journal.browser_of("viewer"), journal.PAGE)
