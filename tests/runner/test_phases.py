"""What people press, in turn and at the same moment."""

import threading
from collections.abc import Callable
from functools import partial

import pytest
from django.db import connection
from django.utils import timezone

from rollout import runner
from rollout.models import AuditReport, Direction, LogEntry, PhaseRun, Rollout, RunState
from rollout.notifications.kinds import kind_of
from rollout.worker import leases
from tests.support import rollouts
from tests.support.processes import wait_until
from tests.support.rollouts import ADA, Person
from tests.support.threads import at_once


def outcome_of(press: Callable[[], PhaseRun]) -> PhaseRun | str:
    """The run that a press starts, or why it is refused."""
    try:
        return press()
    except runner.Refused as refusal:
        return str(refusal)


def presses_at_once(*presses: Callable[[], PhaseRun]) -> list[PhaseRun | str]:
    return at_once(*(partial(outcome_of, press) for press in presses))


def test_leads_who_press_start_at_the_same_moment_start_it_once(tiny: Rollout) -> None:
    for _ in range(5):
        PhaseRun.objects.all().delete()
        outcomes = presses_at_once(
            *(lambda who=who: runner.start(tiny, 0, actor=Person(who)) for who in "abcd")
        )
        runs = [answer for answer in outcomes if isinstance(answer, PhaseRun)]
        refusals = [answer for answer in outcomes if isinstance(answer, str)]
        assert len(runs) == 1
        assert len(refusals) == 3
        winner = runs[0].actor_name
        assert refusals == [f"{winner}'s phase 0 is queued. Wait for it to end, or cancel it."] * 3
        assert [message.arguments[0] for message in rollouts.queued()].count(runs[0].pk) == 1


def test_a_start_and_a_rollback_at_the_same_moment_do_not_both_happen(tiny: Rollout) -> None:
    rollouts.carry_out(tiny, 0)
    outcomes = presses_at_once(
        lambda: runner.start(tiny, 1, actor=ADA), lambda: runner.roll_back(tiny, 0, actor=ADA)
    )
    assert sum(isinstance(answer, PhaseRun) for answer in outcomes) == 1


def test_leads_who_resume_at_the_same_moment_queue_it_once(tiny: Rollout) -> None:
    run = runner.start(tiny, 0, actor=ADA)
    rollouts.lose_the_queue()
    runner.pause(tiny, actor=ADA)
    outcomes = presses_at_once(*(lambda: runner.resume(tiny, actor=ADA) for _ in range(3)))
    assert sum(isinstance(answer, PhaseRun) for answer in outcomes) == 1
    assert [message.arguments for message in rollouts.queued()] == [(run.pk, run.token)]


def test_gates_are_asked_again_after_a_concurrent_run(tiny: Rollout) -> None:
    """A press that waited while another's phase came to its end does not run it twice."""
    refusals: list[str] = []

    def press() -> None:
        try:
            runner.start(tiny, 0, actor=ADA)
        except runner.Refused as refusal:
            refusals.append(str(refusal))
        finally:
            connection.close()

    thread = threading.Thread(target=press)
    with rollouts.locked(f"SELECT FROM rollout_rollout WHERE id = {tiny.pk} FOR UPDATE") as other:
        thread.start()
        wait_until(
            lambda: rollouts.ask(
                "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database()"
            )
        )
        other.execute(
            "INSERT INTO rollout_phaserun (rollout_id, phase, direction, state, actor_name,"
            " plan_digest, token, worker, error, advice, halts, created_at, finished_at)"
            " VALUES (%s, 0, 'forward', 'done', 'bob', '', 0, '', '', '', '[]', now(), now())",
            [tiny.pk],
        )
    thread.join()
    assert refusals == ["Phase 0 is already complete. Roll it back to run it again."]
    assert PhaseRun.objects.count() == 1


def refused(verb: Callable[[], object]) -> str:
    with pytest.raises(runner.Refused) as refusal:
        verb()
    return str(refusal.value)


def test_a_phase_waits_for_the_one_before_it(tiny: Rollout) -> None:
    assert refused(lambda: runner.start(tiny, 1, actor=ADA)) == (
        "Gate “Earlier phase done”: Phase 0 must run first."
    )
    rollouts.carry_out(tiny, 0)
    assert "Phase 1 must run first." in refused(lambda: runner.start(tiny, 2, actor=ADA))
    assert runner.start(tiny, 1, actor=ADA).state == RunState.QUEUED


def test_a_phase_that_failed_lets_no_later_one_start(tiny: Rollout) -> None:
    def fails() -> None:
        raise ValueError("no")

    rollouts.flow.does = fails
    runner.start(tiny, 0, actor=ADA)
    rollouts.work()
    assert "Phase 0 is failed. Retry it, or roll the phase back." in refused(
        lambda: runner.start(tiny, 1, actor=ADA)
    )


@pytest.mark.parametrize("phase", [-1, 5, 99])
def test_a_phase_that_does_not_exist_is_refused(tiny: Rollout, phase: int) -> None:
    expected = f"There is no phase {phase}: phases are 0 to 4."
    assert refused(lambda: runner.start(tiny, phase, actor=ADA)) == expected
    assert refused(lambda: runner.roll_back(tiny, phase, actor=ADA)) == expected


def test_a_rollback_goes_from_the_newest_phase_down(tiny: Rollout) -> None:
    rollouts.carry_out(tiny, 0, 1, 2)
    assert refused(lambda: runner.roll_back(tiny, 0, actor=ADA)) == (
        "Roll back phase 2 first: the newest phase comes first."
    )
    rollouts.carry_back(tiny, 2, 1, 0)
    assert "nothing to roll back" in refused(lambda: runner.roll_back(tiny, 0, actor=ADA))
    rollouts.carry_out(tiny, 0)


def test_a_done_phase_is_not_started_again(tiny: Rollout) -> None:
    rollouts.carry_out(tiny, 0)
    assert "already complete" in refused(lambda: runner.start(tiny, 0, actor=ADA))


def test_a_paused_run_continues_only_when_it_is_resumed(tiny: Rollout) -> None:
    run = runner.start(tiny, 0, actor=ADA)
    runner.pause(tiny, actor=ADA)
    rollouts.work_off(run, RunState.PAUSED)
    assert refused(lambda: runner.start(tiny, 0, actor=ADA)) == (
        "ada's phase 0 is paused. Resume or cancel it first."
    )
    runner.resume(tiny, actor=ADA)
    rollouts.work_off(run)
    assert rollouts.flow.calls == 2


def press_during_the_first_step(
    rollout: Rollout, verb: Callable[..., PhaseRun], noticed: RunState
) -> PhaseRun:
    """Start phase 0 and press while its first step is at work, until the worker has stopped."""
    seen = threading.Event()
    check = leases.Lease.raise_if_stopped

    def notices(lease: leases.Lease) -> None:
        if rollouts.flow.calls == 1:
            wait_until(lambda: lease.asked_to is not None)
            seen.set()
        check(lease)

    def presses() -> None:
        if rollouts.flow.calls == 1:
            verb(rollout, actor=ADA)

    rollouts.flow.does = presses
    run = runner.start(rollout, 0, actor=ADA)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leases.Lease, "raise_if_stopped", notices)
        rollouts.work()
    assert seen.is_set()
    assert rollouts.state_of(run) == noticed
    return run


def test_a_running_phase_is_paused_after_its_step_and_continues_with_the_next(
    tiny: Rollout,
) -> None:
    run = press_during_the_first_step(tiny, runner.pause, RunState.PAUSED)
    assert rollouts.queued() == []
    runner.resume(tiny, actor=ADA)
    rollouts.work_off(run)
    assert rollouts.flow.calls == 2


@pytest.mark.parametrize(
    ("verb", "event"), [(runner.pause, "paused"), (runner.cancel, "cancelled")]
)
def test_the_actor_of_a_stop_is_not_who_started_the_run(
    tiny: Rollout, verb: Callable[..., PhaseRun], event: str
) -> None:
    def presses() -> None:
        verb(tiny, actor=Person("grace"))

    rollouts.flow.does = presses
    runner.start(tiny, 0, actor=ADA)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leases, "LOOK_EVERY", 0.001)
        press_during = leases.Lease.raise_if_stopped

        def looks_first(lease: leases.Lease) -> None:
            lease._read_state()
            press_during(lease)

        patch.setattr(leases.Lease, "raise_if_stopped", looks_first)
        rollouts.work()
    entry = LogEntry.objects.get(event=event)
    assert (entry.actor, entry.message) == ("grace", f"Phase 0 is {event}.")


def test_run_that_no_worker_has_is_stopped_at_once_and_that_is_reported_as_well(
    tiny: Rollout,
) -> None:
    runner.start(tiny, 0, actor=ADA)
    runner.pause(tiny, actor=Person("grace"))
    assert LogEntry.objects.get(event="paused").actor == "grace"
    runner.cancel(tiny, actor=Person("grace"))
    entry = LogEntry.objects.get(event="cancelled")
    assert (entry.actor, kind_of(entry)) == ("grace", "failed")


def test_retry_of_a_run_that_cannot_continue_says_which_and_why(tiny: Rollout) -> None:
    first = rollouts.carry_out(tiny, 0)
    with pytest.raises(runner.Refused, match="Phase 0 is done: there is nothing to retry"):
        runner.retry(tiny, run=first, actor=ADA)
    with pytest.raises(runner.Refused, match="No run failed or was cancelled"):
        runner.retry(tiny, actor=ADA)
    PhaseRun.objects.filter(pk=first.pk).update(state=RunState.FAILED)
    first.refresh_from_db()
    PhaseRun.objects.create(rollout=tiny, phase=0, state=RunState.FAILED)
    with pytest.raises(runner.Refused, match="Phase 0 is no longer the newest run"):
        runner.retry(tiny, run=first, actor=ADA)


def test_a_cancelled_phase_is_started_again_where_it_stopped(tiny: Rollout) -> None:
    first = press_during_the_first_step(tiny, runner.cancel, RunState.CANCELLED)
    second = runner.start(tiny, 0, actor=ADA)
    assert second.pk == first.pk
    rollouts.work_off(first)
    assert rollouts.flow.calls == 2


def test_a_cancelled_phase_can_be_rolled_back(tiny: Rollout) -> None:
    runner.start(tiny, 0, actor=ADA)
    runner.cancel(tiny, actor=ADA)
    assert rollouts.carry_back(tiny, 0).direction == Direction.BACKWARD


def test_a_retry_continues_with_the_step_that_failed(tiny: Rollout) -> None:
    def fails_the_second_time() -> None:
        if rollouts.flow.calls == 2:
            raise ValueError("The flow is broken.")

    rollouts.flow.does = fails_the_second_time
    run = runner.start(tiny, 0, actor=ADA)
    rollouts.work()
    run.refresh_from_db()
    assert (run.state, run.error) == (RunState.FAILED, "The flow is broken.")
    assert "retry" in run.advice
    runner.retry(tiny, actor=ADA)
    rollouts.work()
    run.refresh_from_db()
    assert (run.state, run.error, run.advice) == (RunState.DONE, "", "")
    assert [(step.step, step.attempts) for step in run.steps.all()] == [("first", 1), ("second", 2)]


def test_a_retry_under_a_changed_plan_asks_every_step_again(tiny: Rollout) -> None:
    def fails_the_second_time() -> None:
        if rollouts.flow.calls == 2:
            raise ValueError

    rollouts.flow.does = fails_the_second_time
    run = runner.start(tiny, 0, actor=ADA)
    rollouts.work()
    PhaseRun.objects.update(plan_digest="an older one")
    runner.retry(tiny, actor=ADA)
    rollouts.work_off(run)
    assert rollouts.flow.calls == 4


def test_a_second_audit_waits_for_the_one_under_way(tiny: Rollout) -> None:
    runner.start_audit(tiny, actor=ADA)
    assert refused(lambda: runner.start_audit(tiny, actor=Person("bob"))) == (
        "ada's audit is already running. Wait for its report."
    )
    AuditReport.objects.update(status="clean", finished_at=timezone.now())
    runner.start_audit(tiny, actor=ADA)


def test_every_press_is_in_the_log_with_who_and_from_where(tiny: Rollout) -> None:
    runner.start(tiny, 0, actor=Person("bob"), source="shell")
    runner.pause(tiny, actor=ADA)
    runner.resume(tiny, actor=Person("bob"), source="shell")
    runner.cancel(tiny, actor=ADA)
    runner.retry(tiny, actor=ADA)
    runner.cancel(tiny, actor=ADA)
    runner.roll_back(tiny, 0, actor=ADA)
    entries = LogEntry.objects.order_by("pk").values_list("event", "actor", "source", "phase")
    assert list(entries) == [
        ("phase started", "bob", "shell", 0),
        ("pause asked for", "ada", "web", 0),
        ("paused", "ada", "web", 0),
        ("resumed", "bob", "shell", 0),
        ("cancel asked for", "ada", "web", 0),
        ("cancelled", "ada", "web", 0),
        ("retried", "ada", "web", 0),
        ("cancel asked for", "ada", "web", 0),
        ("cancelled", "ada", "web", 0),
        ("rollback started", "ada", "web", 0),
    ]


def test_a_press_that_was_refused_leaves_nothing_behind(tiny: Rollout) -> None:
    for verb in (runner.pause, runner.resume, runner.cancel, runner.retry):
        refused(lambda verb=verb: verb(tiny, actor=ADA))  # type: ignore[misc]
    refused(lambda: runner.start(tiny, 3, actor=ADA))
    assert not LogEntry.objects.exists()
    assert not PhaseRun.objects.exists()
    assert rollouts.queued() == []
