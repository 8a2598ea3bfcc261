"""SIGTERM to the main process of each kind ends it in good order, and a backfill outlives it."""

import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from rollout import runner
from rollout.models import BackfillJob, LogEntry, Rollout, RunState
from tests.support import rollouts
from tests.support.preloaded import preloaded
from tests.support.processes import (
    Running,
    answers,
    free_port,
    manage_process,
    stopped_after,
    wait_until,
)
from tests.support.rollouts import ADA
from tests.support.servers import Database

pytestmark = pytest.mark.xdist_group("crashes")

ROWS = 10_000
WITHIN_SECONDS = 20
# Ten seconds for all rows, however long batches are.
SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(0.001 * count(*)) FROM these; RETURN NULL; END $$;
CREATE TRIGGER slow AFTER UPDATE ON properties REFERENCING NEW TABLE AS these
  FOR EACH STATEMENT EXECUTE FUNCTION slow();
"""
UPDATED = "SELECT coalesce(sum(updated), 0)::bigint FROM rollout.lanes"


def told_to_stop(running: Running) -> int:
    """Its exit status; whatever it started is gone too, without being killed."""
    session = running.session()
    began = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    status = running.process.wait(WITHIN_SECONDS)
    assert time.monotonic() - began < WITHIN_SECONDS
    _gone, left = psutil.wait_procs(session, timeout=5)
    assert left == [], running.output()
    return status


def test_an_upgrade_in_the_middle_of_a_backfill_loses_nothing_and_needs_no_rescue(
    committed_db: Database,
    expanded: Rollout,
    qcluster: Running,
    watchdog: Running,
    tmp_path: Path,
) -> None:
    rollouts.load_listings(ROWS)
    rollouts.execute(SLOW)
    port = free_port()
    command = [
        *(sys.executable, "-m", "gunicorn", "config.wsgi", "--bind", f"127.0.0.1:{port}"),
        *("--no-control-socket", "--worker-class", "gthread", "--threads", "4"),
    ]
    env = committed_db.env(LOG_LEVEL="INFO")
    web_log = tmp_path / "web.log"
    with stopped_after(Running(command, env=env, log=web_log, fork_of=preloaded)) as web:
        web.wait_for(lambda: answers(f"http://127.0.0.1:{port}/readyz?exclude=worker"))
        run = runner.start(expanded, 2, actor=ADA)
        wait_until(lambda: rollouts.ask(UPDATED) > 200)
        # However busy this machine is, batches are not to become ever smaller.
        BackfillJob.objects.update(target_ms=2_000)
        assert told_to_stop(qcluster) == 0
        assert told_to_stop(watchdog) == 0
        assert told_to_stop(web) == 0
    written = rollouts.ask(UPDATED)
    assert 0 < written < ROWS
    # Nobody holds anything: the next one continues at once.
    assert rollouts.ask("SELECT max(holder) FROM rollout.lanes") == ""
    rollouts.execute("DROP TRIGGER slow ON properties")
    with stopped_after(manage_process("qcluster", env=env, log=tmp_path / "new.log")) as new:
        wait_until(lambda: rollouts.state_of(run) == RunState.DONE, seconds=60, seen=new.output)
    assert BackfillJob.objects.get(kind="fill").updated == ROWS
    assert not LogEntry.objects.filter(event="brought back").exists()
