"""Phases under rules, in time that passes window by window."""

from dataclasses import replace
from datetime import datetime, timedelta

from django.utils import timezone

from rollout import runner
from rollout.models import (
    PhaseRun,
    Rollout,
    RuleState,
    RunState,
)
from rollout.plan import plans
from rollout.plan.guardrails import Guardrail
from rollout.watchdog import guardrails
from tests.console import journal
from tests.support.rollouts import ADA, TINY

SECONDS = 3

SLOW = Guardrail(id="slow", statistic="p95", times=2.0, above=50.0, action="pause")


class Clock:
    """Time in which measurements are put down window by window and judged after each."""

    def __init__(self, rollout: Rollout) -> None:
        self.rollout = rollout
        # Ahead of the clock on the wall: no window is to lie before a run, however long that took.
        start = (int(timezone.now().timestamp()) // SECONDS + 40) * SECONDS
        self.now = datetime.fromtimestamp(start, tz=timezone.get_current_timezone())

    def before_the_phase(self, *, ms: float = 10) -> None:
        for ago in range(180, 900, 60):
            journal.measured(self.now - timedelta(seconds=ago), ms=ms, calls=20)

    def window(self, **figures: float) -> None:
        """A window passes, and the rules are judged when it is over."""
        if figures:
            journal.measured(self.now, **{"calls": 20, **figures})  # type: ignore[arg-type]
        self.now += timedelta(seconds=SECONDS)
        guardrails.evaluate(self.rollout, now=self.now + timedelta(seconds=1))

    def windows(self, number: int, **figures: float) -> None:
        for _ in range(number):
            self.window(**figures)


def follows(*of_the_plan: Guardrail) -> None:
    plans._plans[-1] = replace(TINY, guardrails=of_the_plan)


def running(rollout: Rollout) -> PhaseRun:
    run = runner.start(rollout, 0, actor=ADA)
    PhaseRun.objects.filter(pk=run.pk).update(state=RunState.RUNNING)
    return run


def state(rule: str = "slow") -> RuleState:
    return RuleState.objects.get(rule=rule)
