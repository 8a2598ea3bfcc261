"""Index builds and validations begin once neither the server nor the application suffers."""

import threading

from django.utils import timezone

from rollout.engine.control import NullControl
from rollout.engine.target import fetch_bool
from rollout.models import Direction, Rollout, RuleState, RunState, StepRun
from rollout.plan import plans
from rollout.plan.actions import Statement
from rollout.worker.calm_moments import wait_for_calm
from tests.support import rollouts
from tests.support.processes import wait_until


class Listening(NullControl):
    def __init__(self) -> None:
        self.waits: list[str] = []

    def report_wait(self, reason: str) -> None:
        self.waits.append(reason)


def validation() -> Statement:
    """The first statement of phase 3 that reads a whole table."""
    plan = plans.get(rollouts.PLAN)
    return next(
        action
        for step in plan.phases[3].steps
        for action in plan.forward(step).actions
        if isinstance(action, Statement) and action.scans
    )


def throttle(rollout: Rollout) -> RuleState:
    now = timezone.now()
    return RuleState.objects.create(
        rollout=rollout,
        rule="slow",
        action="throttle",
        acting=True,
        message="The p95 is 900 ms.",
        since=now,
        judged_at=now,
    )


def test_a_validation_begins_once_no_guardrail_slows_the_work(filled: Rollout) -> None:
    run = rollouts.start(filled, 3)
    slow = throttle(filled)
    worker = threading.Thread(target=rollouts.work_in_a_thread)
    worker.start()
    waiting = StepRun.objects.filter(run=run, waiting_for="a calm moment: The p95 is 900 ms.")
    wait_until(waiting.exists, seconds=60)
    done = validation().done
    assert done is not None
    with rollouts.target() as connection:
        assert not fetch_bool(connection, done)
    RuleState.objects.filter(pk=slow.pk).update(acting=False)
    worker.join()
    assert rollouts.state_of(run) == RunState.DONE
    assert not StepRun.objects.filter(run=run).exclude(waiting_for="").exists()


def test_a_rollback_waits_for_no_calm_moment(filled: Rollout) -> None:
    run = rollouts.start(filled, 3)
    throttle(filled)
    run.direction = Direction.BACKWARD
    control = Listening()
    with rollouts.target() as connection:
        wait_for_calm(connection, validation(), run, plans.get(rollouts.PLAN), control)
    assert control.waits == []
