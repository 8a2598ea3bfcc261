"""The shell's verbs about runs: start, pause, resume, cancel, retry, roll back; and waiting."""

from typing import Any

import pytest

from rollout.models import LogEntry, PhaseRun, RunState
from tests.support import rollouts
from tests.support.processes import PATIENCE, Running, manage_process, stopped_after
from tests.support.rollouts import PLAN, Cli
from tests.support.servers import Database


def test_start_queues_the_phase_and_says_how_to_watch_it(cli: Cli) -> None:
    assert cli("start", PLAN, "0") == (
        0,
        f"Queued. Follow progress: manage.py rollout show {PLAN}\n",
        "",
    )
    assert len(rollouts.queued()) == 1
    entry = LogEntry.objects.get()
    assert (entry.event, entry.source) == ("phase started", "shell")


def test_a_gate_that_fails_is_answered_with_no_and_advice(cli: Cli) -> None:
    code, out, err = cli("start", PLAN, "1")
    assert (code, out) == (1, "")
    assert err == ("Gate “Earlier phase done”: Phase 0 must run first.\n")


def test_every_verb_goes_to_the_runner(cli: Cli) -> None:
    cli("start", PLAN, "0")
    assert cli("pause", PLAN) == (0, "Phase 0 is paused.\n", "")
    assert cli("resume", PLAN) == (0, "Phase 0 is queued.\n", "")
    assert cli("cancel", PLAN) == (0, "Phase 0 is cancelled.\n", "")
    assert cli("retry", PLAN) == (0, "Phase 0 is queued.\n", "")
    rollouts.work()
    assert cli("rollback", PLAN, "0")[0] == 0
    rollouts.work()
    assert set(LogEntry.objects.values_list("source", flat=True)) == {"shell", "worker"}
    assert PhaseRun.objects.filter(state=RunState.DONE).count() == 2


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel", "retry"])
def test_a_verb_with_nothing_to_act_on_is_answered_with_no(cli: Cli, verb: str) -> None:
    code, out, err = cli(verb, PLAN)
    assert (code, out) == (1, "")
    assert err.startswith(("Nothing ", "No run "))


@pytest.mark.xdist_group("processes")
def test_a_wait_for_a_phase_reports_that_no_worker_runs(
    committed_db: Database, tmp_path: Any
) -> None:
    with stopped_after(
        manage_process(
            "rollout", "start", PLAN, "0", "--wait", env=committed_db.env(), log=tmp_path / "log"
        )
    ) as waiting:
        waiting.wait_for(lambda: "Start it: manage.py qcluster." in waiting.output())
        rollouts.work()
        assert waiting.process.wait(PATIENCE) == 0
        assert "Phase 0 forward: done." in waiting.output()


@pytest.mark.xdist_group("processes")
def test_a_rollback_of_several_phases_waits_for_the_last(
    committed_db: Database, cli: Cli, tmp_path: Any
) -> None:
    assert cli("rollback", PLAN, "--to", "4") == (
        2,
        "",
        "There is no phase 5: phases are 0 to 4.\n",
    )
    rollout = rollouts.the_rollout()
    for phase in range(3):
        PhaseRun.objects.create(rollout=rollout, phase=phase, state=RunState.DONE)
    verb = ("rollout", "rollback", PLAN, "--to", "-1", "--wait")
    with stopped_after(
        manage_process(*verb, env=committed_db.env(), log=tmp_path / "log")
    ) as waiting:
        waiting.wait_for(lambda: len(rollouts.queued()) == 1)
        rollouts.work()
        assert waiting.process.wait(PATIENCE) == 0
        assert "Rollback of all phases: done." in waiting.output()
        assert "Phase 0 backward: done." in waiting.output()


@pytest.mark.xdist_group("processes")
def test_a_wait_for_a_phase_reports_how_it_failed(committed_db: Database, tmp_path: Any) -> None:
    rollouts.execute("ALTER TABLE properties DROP price")
    waiting: Running
    with stopped_after(
        manage_process(
            "rollout", "start", PLAN, "0", "--wait", env=committed_db.env(), log=tmp_path / "log"
        )
    ) as waiting:
        waiting.wait_for(lambda: bool(rollouts.queued()))
        rollouts.work()
        assert waiting.process.wait(PATIENCE) == 1
        assert "Phase 0 forward: failed. The live schema differs" in waiting.output()
        assert "then retry" in waiting.output()
