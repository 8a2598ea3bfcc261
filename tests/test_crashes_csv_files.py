"""An uploaded CSV file that real workers work on and die at: each of its rows is done once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from rollout import plan as r
from rollout.engine.target import Connection
from rollout.journal import activity_log
from rollout.models import BackfillJob, LogEntry, RunState
from rollout.plan import plans
from tests.support import rollouts
from tests.support.deadly_actions import (
    actions_of,
    bring_back_now,
    deaths_in,
    make_deadly,
)
from tests.support.dying_workers import SLOW, die_in_the_middle
from tests.support.own_plan_sites import env_with_plan
from tests.support.processes import manage_process, stopped_after
from tests.support.servers import Database, manage
from tests.test_crashes import wait_for

pytestmark = pytest.mark.xdist_group("crashes")

ROWS = 1_000


def count_up(rows: Sequence[Mapping[str, Any]], connection: Connection) -> None:
    """What nobody may do twice."""
    connection.execute(
        "UPDATE public.counted SET times = times + 1 WHERE line = ANY (%s)",
        [[row["line"] for row in rows]],
    )


NOTHING = r.Phase(steps=())
COUNT_UP = r.RunCsvTask(
    id="count-up", description="Count up", columns=("title",), function=f"{__name__}.count_up"
)
PLAN = r.Plan(
    name="counted-lines",
    title="Counted lines",
    description="A line of a file counts once.",
    tables=(),
    translations=(),
    phases=(NOTHING, NOTHING, r.Phase(steps=(COUNT_UP,)), NOTHING, NOTHING),
)
TABLE = f"""
CREATE TABLE counted (line bigint PRIMARY KEY, times integer NOT NULL);
INSERT INTO counted SELECT line, 0 FROM generate_series(2, {ROWS + 1}) AS line;
{SLOW.format(table="counted", few=0)}
"""
COUNTED = "SELECT jsonb_object_agg(times, lines) FROM (SELECT times, count(*) AS lines FROM counted"
FILES = "SELECT count(*) FROM pg_tables WHERE schemaname = 'rollout' AND tablename LIKE '%%csv'"


def test_each_row_of_a_file_is_done_once_where_workers_die_in_its_task(
    committed_db: Database, own_plans: None, tmp_path: Path
) -> None:
    plans.register(PLAN)
    rollouts.execute(TABLE)
    env = env_with_plan(committed_db, tmp_path, f"{__name__}.PLAN")
    rollout = rollouts.the_rollout(PLAN.name)
    file = tmp_path / "titles.csv"
    file.write_text("title\n" + "T\n" * ROWS)
    with stopped_after(manage_process("qcluster", env=env, log=tmp_path / "qcluster.log")):
        for phase in (0, 1):
            wait_for(rollouts.start(rollout, phase), RunState.DONE)
        upload = ("rollout", "csv", PLAN.name, "--step", COUNT_UP.id, "--upload", str(file))
        assert f"{ROWS:,} rows, {ROWS:,} not done" in manage(*upload, url=committed_db.url, **env)
        run = die_in_the_middle(lambda: rollouts.start(rollout, 2), "task", rows=ROWS)
        # Another batch of the rows that are left, and the removal of the file after the last one.
        deadly = actions_of(PLAN)[:2]
        make_deadly(deadly)
        bring_back_now(run)
        assert deaths_in(lambda: run) == deadly
    assert rollouts.ask(f"{COUNTED} GROUP BY 1) AS c") == {"1": ROWS}
    assert rollouts.ask(FILES) == 0
    job = BackfillJob.objects.get()
    assert (job.scanned, job.updated, job.quarantined, job.rewritten) == (ROWS, ROWS, 0, 0)
    assert LogEntry.objects.filter(event="brought back").count() == 3
    assert activity_log.verify().broken is None
