"""This engine as people use it: a phase started in the journal, real queue, workers, watchdog."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.control import BENCHMARK
from bench.loops.base import Copy, Run, Work
from bench.server import Database, django_uses
from config import processes
from config.home import ROOT
from rollout import queue, runner
from rollout.journal.heartbeats import liveness
from rollout.models import BackfillJob, Direction, PhaseRun, RunState, StepRun
from rollout.plan import plans
from rollout.queries.status import find_rollout
from rollout.worker import leases

START_SECONDS = 60


class DidNotEnd(Exception):
    """The phase did not come to its end; the message is the journal's."""


@contextmanager
def workers(database: Database, *, number: int = 2) -> Iterator[None]:
    """A queue cluster and a watchdog over a database, which this process uses too."""
    with django_uses(database):
        spawn_site(database, "qcluster", number=number)
        spawn_site(database, "rollout", "watchdog")
        try:
            _await_workers()
            yield
        finally:
            processes.stop_all(database.home)


def spawn_site(database: Database, *command: str, number: int = 2) -> None:
    """Start a process of the site over a database."""
    with (database.home / "site.log").open("ab") as log:
        processes.spawn(
            [sys.executable, str(ROOT / "manage.py"), *command],
            home=database.home,
            environ={**database.environ, "ROLLOUT_WORKERS": str(number)},
            output=log,
        )


@contextmanager
def whole_path(copy: Copy) -> Iterator[Run]:
    with workers(copy.database):
        yield lambda bounds: backfill(copy)


def _await_workers() -> None:
    deadline = time.monotonic() + START_SECONDS
    while message := liveness().message:
        if time.monotonic() > deadline:
            raise DidNotEnd(message)
        time.sleep(0.1)


def carry_out(plan: str, number: int, direction: Direction = Direction.FORWARD) -> PhaseRun:
    """A phase by the queue and its workers, to its end. Raises DidNotEnd."""
    run = begin(plan, number, direction)
    await_end(run)
    return run


def begin(plan: str, number: int, direction: Direction = Direction.FORWARD) -> PhaseRun:
    """A phase that the queue's workers have begun, or will.

    Gates and approvals ask people, and nobody is here: what counts is what steps do.
    """
    run = PhaseRun.objects.create(
        rollout=find_rollout(plan, "production"),
        phase=number,
        direction=direction,
        actor_name=BENCHMARK.get_username(),
        plan_digest=plans.get(plan).digest,
        lease_until=leases.grace(),
    )
    queue.send_work(run)
    return run


def await_end(run: PhaseRun) -> None:
    """Until a run has come to its end. Raises DidNotEnd."""
    while run.active:
        time.sleep(0.2)
        run.refresh_from_db()
    if run.state != RunState.DONE:
        raise DidNotEnd(f"{run}: {run.error}")


def backfill(copy: Copy) -> Work:
    """Phase 2, its audit included; of that the backfill, from its job's first moment to its last.

    The final sweep is part of it: before that nobody knows that the backfill has ended.
    """
    run = runner.start(find_rollout(copy.plan.name, "production"), 2, actor=BENCHMARK)
    await_end(run)
    job = BackfillJob.objects.get(step_run__run=run)
    assert job.finished_at is not None
    return Work(
        job.written,
        job.created_at.timestamp(),
        job.finished_at.timestamp(),
        {
            "step_seconds": seconds_of(job.step_run),
            "working_seconds": job.working_seconds,
            "stripes": job.stripes,
            "rounds": job.rounds,
        },
    )


def seconds_of(step: StepRun) -> float:
    """How long a step took that has ended."""
    assert step.started_at is not None
    assert step.finished_at is not None
    return (step.finished_at - step.started_at).total_seconds()
