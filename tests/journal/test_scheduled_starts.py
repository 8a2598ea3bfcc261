"""What people do ends the wait of a scheduled start that would repeat or undo it."""

import pytest

from rollout import runner
from rollout.journal.recorded_runs import record_run
from rollout.journal.scheduled_starts import overtaken_by
from rollout.models import Direction, LogEntry, PhaseRun, Rollout, ScheduledStart
from rollout.worker import restores
from tests.support import rollouts
from tests.support.rollouts import ADA, Cli, Person, schedule

GRACE = Person("grace")


def state_of(waiting: ScheduledStart) -> str:
    waiting.refresh_from_db()
    return waiting.state


def why() -> str:
    """What ended the wait, as the log has it."""
    return LogEntry.objects.get(event="start unscheduled").message.rpartition(": ")[2]


def stopped(rollout: Rollout, phase: int = 0) -> PhaseRun:
    """A run that was cancelled before a worker began."""
    rollouts.start(rollout, phase)
    return runner.cancel(rollout, actor=ADA)


def test_a_start_before_its_time_leaves_no_second_one(tiny: Rollout) -> None:
    waiting = schedule(tiny)
    run = runner.start(tiny, 0, actor=GRACE)
    assert state_of(waiting) == "cancelled"
    assert why() == "grace has started it already."
    assert overtaken_by(run).startswith("The scheduled start of phase 0 at ")
    assert overtaken_by(run).endswith(", planned by ada, is cancelled.")


def test_a_retry_before_its_time_leaves_no_second_one(tiny: Rollout) -> None:
    run = stopped(tiny)
    waiting = schedule(tiny)
    assert runner.retry(tiny, run=run, actor=GRACE).overtakes == waiting
    assert state_of(waiting) == "cancelled"
    assert why() == "grace has started it already."


def test_an_earlier_phase_leaves_the_scheduled_one_to_its_time(tiny: Rollout) -> None:
    waiting = schedule(tiny, phase=1)
    run = rollouts.carry_out(tiny, 0)
    assert state_of(waiting) == "waiting"
    assert overtaken_by(run) == ""


@pytest.mark.parametrize("is_begun", [True, False])
def test_a_rollback_ends_the_wait_for_the_phase_and_for_later_ones(
    tiny: Rollout, is_begun: bool
) -> None:
    rollouts.carry_out(tiny, 0)
    if is_begun:
        stopped(tiny, 1)
    waiting = schedule(tiny, phase=1)
    run = runner.roll_back_to(tiny, -1, actor=GRACE)
    assert state_of(waiting) == "cancelled"
    assert why() == f"grace rolled back phase {1 if is_begun else 0}."
    assert run.overtakes == waiting


def test_a_rollback_by_hand_ends_the_wait(tiny: Rollout) -> None:
    rollouts.carry_out(tiny, 0)
    waiting = schedule(tiny, phase=1)
    (run,) = runner.recognise(tiny, 0, actor=GRACE)
    assert run.overtakes == waiting
    assert state_of(waiting) == "cancelled"
    assert why() == "grace rolled back phase 0."


def test_a_phase_that_is_recorded_as_done_is_not_started(tiny: Rollout) -> None:
    waiting = schedule(tiny)
    run = record_run(
        tiny,
        0,
        Direction.FORWARD,
        steps=(),
        result=str,
        actor_name="grace",
        source="shell",
        plan_digest="",
    )
    assert run.overtakes == waiting
    assert state_of(waiting) == "cancelled"
    assert why() == "grace recorded it as done."


def test_a_restored_snapshot_ends_the_wait_whatever_phases_were_done(properties: Rollout) -> None:
    snapshot = rollouts.snapshot_of(properties)
    waiting = schedule(properties)
    restores.note(snapshot, properties, actor="grace", source="worker")
    assert state_of(waiting) == "cancelled"
    assert why() == f"grace restored snapshot {snapshot.pk}."


def test_mail_of_it_goes_to_the_person_who_scheduled_it(tiny: Rollout) -> None:
    rollouts.carry_out(tiny, 0)
    schedule(tiny, phase=1)
    runner.unschedule(tiny, actor=GRACE)
    schedule(tiny, phase=1)
    runner.roll_back(tiny, 0, actor=GRACE)
    entries = LogEntry.objects.filter(event="start unscheduled")
    assert [entry.data["addressees"] for entry in entries] == [["ada"], ["ada"]]


def test_mail_is_not_sent_to_who_cancels_an_own_start(tiny: Rollout) -> None:
    schedule(tiny)
    runner.unschedule(tiny, actor=ADA)
    assert "addressees" not in LogEntry.objects.get(event="start unscheduled").data


def test_a_shell_says_which_start_it_cancelled(tiny: Rollout, cli: Cli) -> None:
    rollouts.carry_out(tiny, 0)
    schedule(tiny, phase=1)
    code, out, _ = cli("rollback", tiny.plan, "0")
    assert code == 0
    assert out.startswith("The scheduled start of phase 1 at ")
