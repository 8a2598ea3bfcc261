"""Steps of a team's own in the journal: what a task did, and which rows stopped a check."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from properties.rollout import PROPERTIES
from rollout import plan as r
from rollout import runner
from rollout.engine.target import Connection
from rollout.models import BackfillJob, LogEntry, Rollout, RunState
from rollout.plan import plans
from tests.support import rollouts
from tests.support.rollouts import ADA, PLAN


def shorten(rows: Sequence[Mapping[str, Any]], connection: Connection) -> None:
    connection.execute(
        "UPDATE properties SET title = left(title, 3) WHERE id = ANY (%s)",
        [[row["id"] for row in rows]],
    )


SHORTEN = r.RunTask(
    id="shorten",
    description="Shorten titles",
    table=PROPERTIES,
    function="tests.worker.test_runs_own_steps.shorten",
    where="length({title}) > 3",
    undo="",
)
CHECK = r.AddCheck(
    id="check",
    description="Refuse long titles",
    table=PROPERTIES,
    name="short_titles",
    condition="length({title}) <= 3",
)


def with_steps(monkeypatch: pytest.MonkeyPatch, *steps: r.Step) -> None:
    """The property plan with nothing but these steps in phase 2."""
    plan = plans.get(PLAN)
    phases = list(plan.phases)
    phases[2] = replace(phases[2], steps=steps)
    changed = replace(plan, phases=tuple(phases))  # type: ignore[arg-type]
    monkeypatch.setattr(plans, "_plans", [changed])


def test_a_task_is_a_job_of_its_own_in_the_journal_and_keeps_what_it_did_in_a_rollback(
    expanded: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_steps(monkeypatch, SHORTEN)
    runner.start(expanded, 2, actor=ADA)
    rollouts.work()
    job = BackfillJob.objects.get()
    assert (job.kind, job.scanned, job.updated, job.quarantined) == ("task", 300, 300, 0)
    (entry,) = LogEntry.objects.filter(event="backfill done", data__job=job.pk)
    assert entry.message.startswith("Task, properties: 300 rows scanned, 300 updated")
    assert job.step_run.run.state == RunState.DONE
    rollouts.carry_back(expanded, 2)
    assert rollouts.ask("SELECT max(length(title)) FROM properties") == 3


def test_a_phase_that_rows_stop_names_them_and_continues_once_they_are_corrected(
    expanded: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_steps(monkeypatch, CHECK)
    rollouts.execute("UPDATE properties SET title = 'abc'")
    run = runner.start(expanded, 2, actor=ADA)
    rollouts.execute(
        "UPDATE properties SET title = 'long' WHERE id = (SELECT min(id::text)::uuid"
        " FROM properties)"
    )
    rollouts.work()
    run.refresh_from_db()
    key = rollouts.ask("SELECT id::text FROM properties WHERE title = 'long'")
    assert run.state == RunState.FAILED
    assert run.error == (
        "1 row of properties breaks the condition length(title) <= 3."
        f" Examples: {key}. Correct these rows first, or change the condition."
    )
    assert "VALIDATE or an index build failed" in run.advice
    rollouts.execute_past_triggers("UPDATE properties SET title = 'abc' WHERE title = 'long'")
    runner.retry(expanded, actor=ADA)
    rollouts.work()
    run.refresh_from_db()
    assert run.state == RunState.DONE
