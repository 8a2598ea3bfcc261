"""A rehearsal beside the one before: what became better or worse, and how much time is left."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from django.utils import timezone

from rollout.models import Direction, Rehearsal, RehearsalState
from rollout.plan.plan import ROLES
from rollout.queries.progress import TimeLeft
from rollout.queries.rehearsals import PhaseResult, Report, of_rollout, report_of, result_of

# Seconds; what passes between two steps is no delay.
BETWEEN_STEPS = 1.0


@dataclass(frozen=True)
class Change:
    """A figure of a rehearsal beside that of the one before; less is better."""

    now: float
    before: float

    # Differences below this share are noise.
    NOISE: ClassVar[float] = 0.1

    @property
    def difference(self) -> float:
        return self.now - self.before

    @property
    def verdict(self) -> Literal["better", "worse", "same"]:
        if abs(self.difference) <= self.NOISE * max(self.before, self.now):
            return "same"
        return "better" if self.difference < 0 else "worse"


@dataclass(frozen=True)
class ResultChange:
    """What changed of a phase in one direction; None where either rehearsal has no figure."""

    seconds: Change | None
    lock_ms: Change | None
    latency_ms: Change | None


def change_of(result: PhaseResult | None, before: PhaseResult | None) -> ResultChange | None:
    """A phase in one direction beside the same of the rehearsal before."""
    if result is None or before is None or result.run.state != "done":
        return None
    lock, lock_before = result.longest_lock, before.longest_lock
    return ResultChange(
        _change(result.seconds, before.seconds),
        _change(lock.held_ms, lock_before.held_ms) if lock and lock_before else None,
        _change(result.traffic.longest_ms, before.traffic.longest_ms),
    )


def _change(now: float | None, before: float | None) -> Change | None:
    return None if now is None or before is None else Change(now, before)


def finished_before(rehearsal: Rehearsal, *, most: int) -> list[Report]:
    """The finished rehearsals of the rollout before this one, newest first."""
    finished = of_rollout(rehearsal.rollout).filter(
        pk__lt=rehearsal.pk, state__in=(RehearsalState.PASSED, RehearsalState.FAILED)
    )
    return [report_of(earlier) for earlier in finished[:most]]


def time_left(report: Report, before: Report | None) -> TimeLeft | None:
    """Until the last rollback is done, as the rehearsal before went; None where it did not.

    Scaled by how much longer the runs that are done took than then. What takes longer makes it a
    lower bound.
    """
    if before is None:
        return None
    left, is_longer = 0.0, False
    for direction in (Direction.FORWARD, Direction.BACKWARD):
        for phase in range(report.rehearsal.first_phase, len(ROLES)):
            last = result_of(before, phase, direction)
            if last is None or last.seconds is None:
                return None
            begun = next(
                (e for e in report.results if (e.phase, e.direction) == (phase, direction)), None
            )
            if begun is None:
                left += last.seconds
            elif begun.run.started_at is not None and begun.run.state != "done":
                gone = (timezone.now() - begun.run.started_at).total_seconds()
                of_result, longer = _left_of(begun, last, gone)
                left, is_longer = left + of_result, is_longer or longer
    left *= _pace(report, before)
    return TimeLeft(left, None if is_longer else left)


def _pace(report: Report, before: Report) -> float:
    """How many times as long as then the runs took that are done; 1 before the first."""
    done = [
        (result.seconds, last.seconds)
        for result in report.results
        if result.run.state == "done"
        and result.seconds is not None
        and (last := result_of(before, result.phase, result.direction)) is not None
        and last.seconds
    ]
    then = sum(last for _now, last in done)
    return sum(now for now, _last in done) / then if then else 1.0


def _left_of(result: PhaseResult, last: PhaseResult, gone: float) -> tuple[float, bool]:
    """The seconds that a phase's steps still take, and whether the present one took less before."""
    done = {step.step: step.seconds for step in result.steps if step.state == "done"}
    todo = [step.seconds or 0 for step in last.steps if step.step not in done]
    if not todo:
        return max((last.seconds or 0) - gone, 0), gone > (last.seconds or 0)
    present = gone - sum(seconds or 0 for seconds in done.values())
    return max(todo[0] - present, 0) + sum(todo[1:]), present > todo[0] + BETWEEN_STEPS
