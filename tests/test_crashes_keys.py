"""The worker of a widening is killed in the middle of each step, forward and back."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from rollout import runner
from rollout.journal import activity_log
from rollout.journal.environments import target_of
from rollout.models import LogEntry, RunState
from rollout.plan import plans
from tests.plan.test_wide_keys import CATALOG, SHOP, TICKETS, widening, writing
from tests.support import rollouts
from tests.support.deadly_actions import DeadlyAction, actions_of, deaths_in, make_deadly
from tests.support.own_plan_sites import env_with_plan
from tests.support.processes import manage_process, stopped_after
from tests.support.rollouts import ADA
from tests.support.servers import Database
from tests.test_crashes import wait_for

pytestmark = pytest.mark.xdist_group("crashes")

_PLAN = widening(TICKETS)
# Gates ask people, who are not here.
PLAN = replace(_PLAN, phases=tuple(replace(phase, gates=()) for phase in _PLAN.phases))  # type: ignore[arg-type]
COUNTED = 'SELECT (SELECT count(*) FROM ticket), (SELECT count(*) FROM "Ticket Line")'
# Of each kind of step one, and both cutovers: of the table that refers to the key, and the key's.
STEPS = {
    *("add-ticket", "sync-ticket", "write-both", "fill-ticket", "audit", "require-ticket"),
    *("cut-over-Ticket Line", "cut-over-ticket"),
    *("freeze-ticket", "archive-ticket", "drop-ticket"),
}
# Whether every key fits into the narrow column again.
QUESTION = DeadlyAction("backward", 4, "drop-ticket", 0)


def rows_of(query: str) -> list[tuple[Any, ...]]:
    with rollouts.target() as opened:
        return opened.execute(query.encode()).fetchall()


def test_no_write_is_lost_where_the_worker_of_a_widening_is_killed_in_each_step(
    committed_db: Database, own_plans: None, tmp_path: Path
) -> None:
    plans.register(PLAN)
    env = env_with_plan(committed_db, tmp_path, f"{__name__}.PLAN")
    rollouts.execute(SHOP)
    rollout = rollouts.the_rollout(PLAN.name)
    forward, back = partial(rollouts.start, rollout), partial(runner.roll_back, rollout, actor=ADA)
    deadly = [a for a in actions_of(PLAN) if a.step in STEPS and a != QUESTION]
    target, stop = target_of("production"), Event()
    ((tickets, lines),) = rows_of(COUNTED)
    with (
        stopped_after(manage_process("qcluster", env=env, log=tmp_path / "qcluster.log")),
        ThreadPoolExecutor(2) as pool,
    ):
        wait_for(rollouts.start(rollout, 0), RunState.DONE)
        make_deadly(deadly)
        catalog = rows_of(CATALOG)
        writers = [pool.submit(writing, target, number, stop) for number in (1, 2)]
        try:
            died = [
                *(d for phase in (1, 2, 3, 4) for d in deaths_in(partial(forward, phase))),
                *(d for phase in (4, 3, 2, 1) for d in deaths_in(partial(back, phase))),
            ]
        finally:
            stop.set()
        written = [writer.result(timeout=60) for writer in writers]
    assert died == deadly
    expected = (tickets + sum(t for t, _ in written), lines + sum(n for _, n in written))
    assert rows_of(COUNTED) == [expected]
    assert all(made > 0 for made, _ in written)
    assert rows_of(CATALOG) == catalog
    assert LogEntry.objects.filter(event="brought back").count() == len(died)
    assert activity_log.verify().broken is None
