"""What a real worker logs while it carries a phase out says whose work it is."""

import json
from typing import Any

import pytest

from rollout.models import BackfillJob, RunState
from tests.support import rollouts
from tests.support.processes import Running, wait_until
from tests.support.rollouts import PLAN
from tests.support.servers import Database

pytestmark = pytest.mark.xdist_group("processes")


@pytest.fixture
def in_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_FORMAT", "json")


def test_a_workers_lines_have_rollout_phase_run_step_and_job(
    in_json: None, committed_db: Database, qcluster: Running
) -> None:
    rollouts.load_listings(100)
    rollout = rollouts.the_rollout()
    for phase in (0, 1, 2):
        run = rollouts.start(rollout, phase)
        wait_until(
            lambda run=run: rollouts.state_of(run) == RunState.DONE,  # type: ignore[misc]
            seen=qcluster.output,
        )
    lines: list[dict[str, Any]] = [json.loads(line) for line in qcluster.output().splitlines()]
    of_it = [line for line in lines if line.get("run") == run.pk]
    assert {(line["plan"], line["environment"], line["phase"]) for line in of_it} == {
        (PLAN, "production", 2)
    }
    steps = [line["step"] for line in of_it if line["message"].startswith("Step ")]
    assert steps == list(run.steps.values_list("step", flat=True))
    job = BackfillJob.objects.get(kind="fill")
    of_the_job = [line for line in of_it if line.get("job") == job.pk]
    assert any(line["message"].startswith("Works on blocks 0 to") for line in of_the_job)
    assert any(line.get("event") == "backfill done" for line in of_the_job)
    assert [line["event"] for line in of_it if "event" in line][-1] == "phase done"
