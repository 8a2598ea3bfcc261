"""Where a rollout stands: the same answers for pages and shell, by as many queries at any size."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from rollout import runner
from rollout.journal import activity_log
from rollout.journal.environments import UnknownEnvironment
from rollout.journal.events import Event
from rollout.models import (
    AuditReport,
    BackfillJob,
    ChainState,
    Direction,
    Heartbeat,
    PhaseRun,
    Restore,
    RollbackChain,
    Rollout,
    RunState,
    Snapshot,
    StepRun,
)
from rollout.modes import Modes
from rollout.plan.plan import Plan
from rollout.plan.registry import UnknownPlan
from rollout.queries import progress
from rollout.queries.status import all_rollouts, find_rollout, status_of, steps_of
from tests.console.journal import queries_of
from tests.support import rollouts
from tests.support.rollouts import ADA


def run_of(
    rollout: Rollout,
    phase: int,
    state: RunState = RunState.DONE,
    direction: Direction = Direction.FORWARD,
) -> PhaseRun:
    now = timezone.now()
    return PhaseRun.objects.create(
        rollout=rollout,
        phase=phase,
        state=state,
        direction=direction,
        actor_name="ada",
        started_at=now - timedelta(seconds=90),
        finished_at=None if state in (RunState.RUNNING, RunState.PAUSED) else now,
    )


def test_a_rollout_that_nobody_has_begun_may_start_with_phase_0(rollout: Rollout) -> None:
    status = status_of(rollout)
    assert (status.phase, status.next_phase, status.active) == (None, 0, None)
    assert [phase.state for phase in status.phases] == ["pending"] * 5
    assert [phase.can_start for phase in status.phases] == [True, False, False, False, False]
    assert not any(phase.can_roll_back for phase in status.phases)
    assert status.modes == Modes("legacy", "legacy")


def test_the_phase_due_shows_its_gates_and_the_newest_may_go_back(rollout: Rollout) -> None:
    for phase in range(3):
        run_of(rollout, phase)
    status = status_of(rollout)
    assert (status.phase, status.next_phase) == (2, 3)
    shown = status.phases[3].gates
    assert {gate.name for gate in shown} == {
        "earlier phase done",
        "no rule holds",
        "backfill complete",
        "audit clean",
        "snapshot verified",
        "flow probes passed",
        "no drift",
        "mapping reviewed",
        "approved",
    }
    assert len(shown) == 9
    let_through = [gate.lets_through for gate in shown]
    assert let_through == sorted(let_through), "what blocks comes first"
    assert set(let_through) == {True, False}
    assert [phase.can_roll_back for phase in status.phases] == [False, False, True, False, False]
    assert (
        status.phases[1].roll_back_refusal
        == "Roll back phase 2 first: the newest phase comes first."
    )


def test_a_phase_that_was_rolled_back_is_pending_again(rollout: Rollout) -> None:
    run_of(rollout, 0)
    run_of(rollout, 1)
    run_of(rollout, 1, direction=Direction.BACKWARD)
    status = status_of(rollout)
    assert (status.phase, status.next_phase) == (0, 1)
    assert [phase.state for phase in status.phases[:2]] == ["done", "pending"]


def test_a_rollback_that_failed_can_be_gone_on_with(rollout: Rollout) -> None:
    run_of(rollout, 0)
    run_of(rollout, 1)
    run_of(rollout, 1, RunState.FAILED, Direction.BACKWARD)
    phase = status_of(rollout).phases[1]
    assert (phase.state, phase.direction, phase.can_roll_back) == ("failed", "backward", True)


def test_nothing_else_may_begin_while_a_run_is_active(rollout: Rollout) -> None:
    run_of(rollout, 0)
    active = run_of(rollout, 1, RunState.RUNNING)
    status = status_of(rollout)
    assert status.active == active
    assert not any(phase.can_start or phase.can_roll_back for phase in status.phases)
    assert status.phases[1].start_refusal == (
        "ada's phase 1 is running. Wait for it to end, or cancel it."
    )


def test_a_duration_runs_until_the_end_of_the_run(rollout: Rollout) -> None:
    run_of(rollout, 0)
    run_of(rollout, 1, RunState.RUNNING)
    ended, runs = (phase.duration for phase in status_of(rollout).phases[:2])
    assert ended == timedelta(seconds=90)
    assert runs is not None
    assert runs >= timedelta(seconds=90)


def test_status_offers_what_the_runner_does(rollout: Rollout) -> None:
    """Buttons and verbs ask the same question."""
    run_of(rollout, 0)
    for phase in status_of(rollout).phases:
        for refusal, verb in (
            (phase.start_refusal, runner.start),
            (phase.roll_back_refusal, runner.roll_back),
        ):
            if refusal:
                with pytest.raises(runner.Refused) as refused:
                    verb(rollout, phase.number, actor=ADA)
                assert str(refused.value) == refusal


def test_nothing_is_ready_during_a_restore_or_between_two_rollbacks_of_a_chain(
    rollout: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusals() -> set[str]:
        """Of the phase that is due and the newest, by the status and by the verbs."""
        status = status_of(rollout)
        answers = {status.phases[1].start_refusal, status.phases[0].roll_back_refusal}
        if answers != {""}:
            for verb, number in ((runner.start, 1), (runner.roll_back, 0)):
                with pytest.raises(runner.Refused) as refused:
                    verb(rollout, number, actor=ADA)
                answers.add(str(refused.value))
        return answers

    for number in (0, 1):
        run_of(rollout, number)
    rollback = run_of(rollout, 1, direction=Direction.BACKWARD)
    monkeypatch.setattr(Plan, "gates_of", lambda *_, **__: ())
    assert refusals() == {""}
    chain = RollbackChain.objects.create(
        rollout=rollout, first_phase=1, to_phase=-1, actor_name="ada"
    )
    rollback.chain = chain
    rollback.save()
    assert refusals() == {
        "ada's rollback of all phases is running. Wait for it to end, or cancel it."
    }
    chain.state = ChainState.CANCELLED
    chain.save()
    assert refusals() == {""}
    snapshot = Snapshot.objects.create(rollout=rollout)
    Restore.objects.create(rollout=rollout, snapshot=snapshot, state="running", actor_name="bob")
    assert refusals() == {
        f"bob is restoring snapshot {snapshot.pk} here. Wait for it to end, or cancel it."
    }


def test_steps_stand_in_the_order_of_the_plan_also_in_a_rollback(rollout: Rollout) -> None:
    run = run_of(rollout, 1, RunState.RUNNING, Direction.BACKWARD)
    StepRun.objects.create(run=run, step="create-types", position=1)
    StepRun.objects.create(run=run, step="create-statuses", position=0)
    steps = steps_of(status_of(rollout), 1)
    assert [step.step.id for step in steps][:3] == [
        "create-types",
        "create-statuses",
        "add-property-columns",
    ]
    assert [step.run is not None for step in steps][:3] == [True, True, False]


def test_names_that_are_unknown_are_reported_with_those_that_are_known(db: None) -> None:
    with pytest.raises(UnknownPlan, match="Known plans: property-classification"):
        find_rollout("nonsense", "production")
    with pytest.raises(UnknownEnvironment, match="Available: production"):
        find_rollout(rollouts.PLAN, "nonsense")
    assert not Rollout.objects.exists()


def test_every_plan_is_listed_in_every_environment(db: None) -> None:
    assert [(listed.plan, listed.environment) for listed in all_rollouts()] == [
        (rollouts.PLAN, "production")
    ]


def fill_the_journal(rollout: Rollout, times: int) -> None:
    for number in range(times):
        for phase in range(3):
            run = run_of(rollout, phase)
            for position in range(5):
                step = StepRun.objects.create(run=run, step=f"s{position}", position=position)
                BackfillJob.objects.create(
                    step_run=step,
                    position=0,
                    table="properties",
                    kind="fill",
                    blocks=1,
                    estimated_rows=1,
                    stripes=1,
                    finished_at=timezone.now(),
                )
        AuditReport.objects.create(
            rollout=rollout, status="clean", started_at=timezone.now(), actor_name="ada"
        )
        Heartbeat.objects.create(
            name=f"host:{times}:{number}", kind="worker", seen_at=timezone.now()
        )
        activity_log.record(Event.PHASE_DONE, "Done.", actor="ada", source="worker", on=rollout)


@pytest.mark.parametrize(
    "question",
    [
        status_of,
        lambda rollout: [steps_of(status_of(rollout), number) for number in range(5)],
        lambda rollout: [status_of(listed) for listed in all_rollouts()],
    ],
    ids=["status_of", "steps_of", "all_rollouts"],
)
def test_the_number_of_queries_does_not_grow_with_the_journal(
    rollout: Rollout, question: Callable[[Rollout], object]
) -> None:
    fill_the_journal(rollout, 1)
    question(rollout)
    few = queries_of(lambda: question(rollout))
    fill_the_journal(rollout, 8)
    assert queries_of(lambda: question(rollout)) == few


def test_a_status_takes_few_queries(rollout: Rollout) -> None:
    fill_the_journal(rollout, 2)
    status_of(rollout)
    assert queries_of(lambda: status_of(rollout)) <= 15


def test_progress_of_a_finished_job_asks_nothing(rollout: Rollout) -> None:
    fill_the_journal(rollout, 1)
    job = BackfillJob.objects.select_related("step_run__run")[0]
    assert queries_of(lambda: progress.progress_of(job)) == 0
