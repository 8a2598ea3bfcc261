"""Rollbacks of several phases at once: started by a person, continued by workers and watchdog."""

from dataclasses import replace

import pytest

from rollout import runner
from rollout.models import (
    ChainState,
    Direction,
    LogEntry,
    PhaseRun,
    Restore,
    RollbackChain,
    Rollout,
    Snapshot,
)
from rollout.plan import plans
from rollout.runner.rollback_chains import seen_of
from rollout.watchdog.lost_work import continue_chains
from rollout.worker.runs import RunJob
from tests.runner.test_phases import presses_at_once, refused
from tests.support import rollouts
from tests.support.rollouts import ADA, TINY, Person
from tests.support.threads import at_once


@pytest.fixture
def done(tiny: Rollout) -> Rollout:
    """All its phases are done."""
    for phase in range(5):
        PhaseRun.objects.create(rollout=tiny, phase=phase, state="done", plan_digest=TINY.digest)
    return tiny


def rolled_back() -> list[tuple[int, str]]:
    """Phase and state of each rollback, in the order of their start."""
    runs = PhaseRun.objects.filter(direction=Direction.BACKWARD).order_by("pk")
    return list(runs.values_list("phase", "state"))


def carry_out_the_first_of(rollout: Rollout) -> None:
    """Roll back to phase 2; the worker dies when it is done with phase 4."""
    run = runner.roll_back_to(rollout, 2, actor=ADA)
    RunJob.carry_out(run.pk, run.token)
    rollouts.lose_the_queue()
    assert rolled_back() == [(4, "done")]


def why_it_stopped() -> str:
    continue_chains()
    chain = RollbackChain.objects.get()
    assert chain.state == ChainState.STOPPED
    entry = LogEntry.objects.filter(event="rollback chain stopped").latest("pk")
    assert entry.message == f"Rollback to phase 2 stopped. {chain.stop_reason}"
    return chain.stop_reason


def test_one_press_rolls_back_every_phase_after_the_one_named(done: Rollout) -> None:
    first = runner.roll_back_to(done, 0, seen=seen_of(TINY, 4), actor=ADA)
    chain = RollbackChain.objects.get()
    assert (first.phase, first.chain) == (4, chain)
    rollouts.work()
    assert rolled_back() == [(4, "done"), (3, "done"), (2, "done"), (1, "done")]
    chain.refresh_from_db()
    assert chain.state == ChainState.DONE
    assert chain.finished_at is not None
    assert chain.runs.count() == 4
    entries = LogEntry.objects.order_by("pk")
    assert list(entries.values_list("event", "phase", "actor", "source"))[:4] == [
        ("rollback chain started", None, "ada", "web"),
        ("rollback started", 4, "ada", "web"),
        ("rollback done", 4, "ada", "worker"),
        ("rollback started", 3, "ada", "worker"),
    ]
    assert entries[3].message == "Started the rollback of phase 3, part of the rollback to phase 0."
    assert entries[3].data["rollback_chain"] == chain.pk
    assert [entry.message for entry in entries][-1] == "Rollback to phase 0 is done."


def test_a_rollback_is_of_the_plan_that_was_read_for_one_phase_or_all(done: Rollout) -> None:
    seen = seen_of(TINY, 4)
    run = runner.roll_back_to(done, 3, seen=seen, actor=ADA)
    rollouts.work_off(run)
    assert rolled_back() == [(4, "done")]
    assert not RollbackChain.objects.exists()
    with pytest.raises(runner.PhaseChanged, match="Review them again"):
        runner.roll_back_to(done, 0, seen=seen, actor=ADA)
    assert "Phase 4 has not run" in refused(lambda: runner.roll_back_to(done, 3, actor=ADA))
    assert "no phase 9" in refused(lambda: runner.roll_back_to(done, 8, actor=ADA))
    outcomes = presses_at_once(
        *(lambda who=who: runner.roll_back_to(done, -1, actor=Person(who)) for who in "abc")
    )
    assert sum(isinstance(answer, PhaseRun) for answer in outcomes) == 1
    rollouts.work()
    assert [phase for phase, _ in rolled_back()] == [4, 3, 2, 1, 0]
    assert RollbackChain.objects.get().title == "Rollback of all phases"


def test_between_two_rollbacks_only_the_next_begins_and_it_does_once(done: Rollout) -> None:
    """Workers and watchdogs that look at the same moment replace the worker that died."""
    carry_out_the_first_of(done)
    reason = "ada's rollback to phase 2 is running. Wait for it to end, or cancel it."
    assert refused(lambda: runner.start(done, 4, actor=rollouts.prepare(done, 4))) == reason
    assert refused(lambda: runner.roll_back(done, 3, actor=ADA)) == reason
    assert refused(lambda: runner.roll_back_to(done, 0, actor=ADA)) == reason
    at_once(*[continue_chains] * 5)
    assert rolled_back() == [(4, "done"), (3, "queued")]
    assert len(rollouts.queued()) == 1
    assert LogEntry.objects.get(event="rollback started", phase=3).source == "watchdog"
    rollouts.work()
    assert rolled_back() == [(4, "done"), (3, "done")]
    assert RollbackChain.objects.get().state == ChainState.DONE


def test_a_pause_halts_the_chain_and_a_cancelled_rollback_stops_it(done: Rollout) -> None:
    run = runner.roll_back_to(done, 2, actor=ADA)
    runner.pause(done, actor=ADA)
    rollouts.work()
    continue_chains()
    assert rollouts.state_of(run) == "paused"
    assert RollbackChain.objects.get().state == ChainState.RUNNING
    runner.resume(done, actor=ADA)
    runner.cancel(done, actor=Person("bob"))
    assert why_it_stopped() == "bob cancelled the rollback of phase 4."


def test_a_failed_rollback_stops_the_chain_and_the_next_press_continues_it(
    done: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(job: RunJob, *_: object) -> None:
        raise ValueError("no")

    runner.roll_back_to(done, 2, actor=ADA)
    with monkeypatch.context() as patch:
        patch.setattr(RunJob, "_refuse_lost_triggers", fails)
        rollouts.work()
    assert rolled_back() == [(4, "failed")]
    assert why_it_stopped() == (
        "The rollback of phase 4 failed. Fix the reported problem, then roll back again."
    )
    runner.roll_back_to(done, 2, actor=Person("bob"))
    rollouts.work()
    assert rolled_back() == [(4, "done"), (3, "done")]
    newest = RollbackChain.objects.latest("pk")
    assert (newest.state, newest.runs.count()) == (ChainState.DONE, 2)


def test_a_cancelled_chain_ends_with_the_rollback_that_runs(done: Rollout) -> None:
    runner.roll_back_to(done, 0, actor=ADA)
    runner.cancel_chain(done, actor=Person("bob"))
    rollouts.work()
    continue_chains()
    assert rolled_back() == [(4, "done")]
    assert RollbackChain.objects.get().state == ChainState.CANCELLED
    assert LogEntry.objects.get(event="rollback chain cancelled").actor == "bob"
    assert "No rollback of several phases" in refused(lambda: runner.cancel_chain(done, actor=ADA))


def test_a_refusal_stops_the_chain(done: Rollout, monkeypatch: pytest.MonkeyPatch) -> None:
    carry_out_the_first_of(done)
    chain = RollbackChain.objects.get()

    def again() -> None:
        RollbackChain.objects.update(state=ChainState.RUNNING)

    restore = Restore.objects.create(
        rollout=done,
        snapshot=Snapshot.objects.create(rollout=done),
        state="running",
        actor_name="bob",
    )
    assert why_it_stopped().startswith("bob is restoring snapshot")
    restore.delete()
    again()
    ada = rollouts.person("ada")
    RollbackChain.objects.update(actor=ada)
    ada.groups.clear()
    assert why_it_stopped().startswith("ada no longer has permission to roll back phases.")
    RollbackChain.objects.update(actor=None)
    again()
    changed = replace(TINY, phases=(*TINY.phases[:4], replace(TINY.phases[4], steps=())))
    with monkeypatch.context() as patch:
        patch.setattr(plans, "_plans", [changed])
        assert why_it_stopped() == (
            "The plan changed after the rollback was confirmed. Review it again."
        )
    again()
    PhaseRun.objects.create(rollout=done, phase=4, direction=Direction.BACKWARD, state="done")
    assert why_it_stopped().startswith("Rollback of phase 4 has run since.")
    assert chain.runs.count() == 1
