"""The worker of a widening is killed in the middle of each step, forward and back."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import psutil
import pytest

from rollout import runner
from rollout.journal import activity_log
from rollout.journal.environments import target_of
from rollout.models import LogEntry, PhaseRun, RunState, StepRun
from rollout.plan import plans
from tests.plan.test_wide_keys import CATALOG, SHOP, TICKETS, widening, writing
from tests.support import rollouts
from tests.support.own_plan_sites import env_with_plan
from tests.support.processes import Running, manage_process, stopped_after, wait_until
from tests.support.rollouts import ADA
from tests.support.servers import Database
from tests.test_crashes import ten_seconds_pass, wait_for

pytestmark = pytest.mark.xdist_group("crashes")

_PLAN = widening(TICKETS)
# Gates ask people, who are not here.
PLAN = replace(_PLAN, phases=tuple(replace(phase, gates=()) for phase in _PLAN.phases))  # type: ignore[arg-type]
# A deadly step halts in its first transaction that changes the schema, and in its first one that
# writes a checkpoint, the modes or its report, until its worker has died there.
HALTS = """
CREATE TABLE deadly (direction text, step text, kind text, died boolean NOT NULL DEFAULT false);
CREATE FUNCTION halt(is_of text) RETURNS void LANGUAGE plpgsql SET search_path = public AS
$$ BEGIN
  IF EXISTS (SELECT FROM rollout_steprun AS s JOIN rollout_phaserun AS r ON r.id = s.run_id
      JOIN deadly AS d ON d.step = s.step AND d.direction = r.direction
     WHERE s.state = 'running' AND d.kind = is_of AND NOT d.died) THEN
    PERFORM set_config('application_name', is_of, false), pg_sleep(60);
  END IF;
END $$;
CREATE FUNCTION halt_change() RETURNS event_trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM public.halt('change'); END $$;
CREATE FUNCTION halt_write() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM public.halt('write'); RETURN NULL; END $$;
CREATE TRIGGER halt AFTER UPDATE ON rollout.lanes FOR EACH ROW
  WHEN (old.scanned <> new.scanned) EXECUTE FUNCTION halt_write();
CREATE TRIGGER halt AFTER UPDATE ON rollout.modes FOR EACH ROW EXECUTE FUNCTION halt_write();
CREATE TRIGGER halt AFTER UPDATE ON rollout_auditreport FOR EACH ROW EXECUTE FUNCTION halt_write();
CREATE EVENT TRIGGER halt ON ddl_command_end EXECUTE FUNCTION halt_change();
"""
HALTED = """SELECT application_name, pid FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event = 'PgSleep'"""
UNDER_WAY = {RunState.QUEUED, RunState.RUNNING}
COUNTED = 'SELECT (SELECT count(*) FROM ticket), (SELECT count(*) FROM "Ticket Line")'
# Of each kind of step one, and both cutovers: of the table that refers to the key, and the key's.
DEADLY = {
    "forward": (
        *(("add-ticket", "change"), ("sync-ticket", "change"), ("write-both", "write")),
        *(("fill-ticket", "write"), ("audit", "write"), ("require-ticket", "change")),
        *(("cut-over-Ticket Line", "change"), ("cut-over-ticket", "change")),
        *(("freeze-ticket", "change"), ("archive-ticket", "change"), ("archive-ticket", "write")),
        ("drop-ticket", "change"),
    ),
    "backward": (
        *(("drop-ticket", "write"), ("drop-ticket", "change"), ("archive-ticket", "change")),
        *(("freeze-ticket", "change"), ("cut-over-ticket", "change")),
        *(("cut-over-Ticket Line", "change"), ("require-ticket", "change")),
        *(("write-both", "write"), ("sync-ticket", "change"), ("add-ticket", "change")),
    ),
}


def rows_of(query: str) -> list[tuple[Any, ...]]:
    with rollouts.target() as opened:
        return opened.execute(query.encode()).fetchall()


def die_in_each_step(start: Callable[[], PhaseRun]) -> list[tuple[str, str]]:
    """Start a run, and kill its worker in each of its deadly steps; those that it died in."""
    run, died = start(), []
    while True:
        wait_until(
            lambda: rows_of(HALTED) != [] or rollouts.state_of(run) not in UNDER_WAY,
            seconds=60,
            seen=lambda: f"{run}, {list(run.steps.values())}",
        )
        halted = rows_of(HALTED)
        if not halted:
            break
        run.refresh_from_db()
        step, kind = StepRun.objects.get(run=run, state="running").step, str(halted[0][0])
        psutil.Process(int(run.worker.rpartition(":")[2])).kill()
        rollouts.execute(
            f"UPDATE deadly SET died = true WHERE (direction, step, kind)"
            f" = ('{run.direction}', '{step}', '{kind}')"
        )
        # The server notices at its next answer that nobody is there.
        rollouts.execute(f"SELECT pg_terminate_backend(pid) FROM ({HALTED}) AS halted")
        wait_until(lambda: rows_of(HALTED) == [])
        ten_seconds_pass(run)
        died.append((step, kind))
    wait_for(run, RunState.DONE)
    return died


def test_no_write_is_lost_where_the_worker_of_a_widening_is_killed_in_each_step(
    committed_db: Database, watchdog: Running, own_plans: None, tmp_path: Path
) -> None:
    plans.register(PLAN)
    env = env_with_plan(committed_db, tmp_path, f"{__name__}.PLAN")
    rollouts.execute(SHOP)
    rollout = rollouts.the_rollout(PLAN.name)
    target, stop = target_of("production"), Event()
    ((tickets, lines),) = rows_of(COUNTED)
    with (
        stopped_after(manage_process("qcluster", env=env, log=tmp_path / "qcluster.log")),
        ThreadPoolExecutor(2) as pool,
    ):
        wait_for(rollouts.start(rollout, 0), RunState.DONE)
        rollouts.execute(HALTS)
        for direction, steps in DEADLY.items():
            for step, kind in steps:
                rollouts.execute(f"INSERT INTO deadly VALUES ('{direction}', '{step}', '{kind}')")
        catalog = rows_of(CATALOG)
        writers = [pool.submit(writing, target, number, stop) for number in (1, 2)]
        try:
            forward = [
                death
                for phase in (1, 2, 3, 4)
                for death in die_in_each_step(partial(rollouts.start, rollout, phase))
            ]
            back = [
                death
                for phase in (4, 3, 2, 1)
                for death in die_in_each_step(partial(runner.roll_back, rollout, phase, actor=ADA))
            ]
        finally:
            stop.set()
        written = [writer.result(timeout=60) for writer in writers]
    assert (tuple(forward), tuple(back)) == (DEADLY["forward"], DEADLY["backward"])
    expected = (tickets + sum(t for t, _ in written), lines + sum(n for _, n in written))
    assert rows_of(COUNTED) == [expected]
    assert all(made > 0 for made, _ in written)
    assert rows_of(CATALOG) == catalog
    assert LogEntry.objects.filter(event="brought back").count() >= len(forward) + len(back)
    assert activity_log.verify().broken is None
