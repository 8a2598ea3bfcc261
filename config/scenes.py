"""Scenes of the demo: its rollout brought by the runner's verbs to where a page tells the most.

For a rollout that has not begun, beside a worker and a watchdog that run.
"""

import time
from collections.abc import Callable
from contextlib import suppress

import psycopg
from django.contrib.auth.models import User

from config.demo_views import (
    approve_everything,
    mark_everything,
    review_everything,
    the_rollout,
)
from properties.mistakes import plant_wrong_types
from rollout import runner
from rollout.engine.target import Connection
from rollout.journal.environments import target_of
from rollout.models import (
    AuditReport,
    AuditStatus,
    BackfillJob,
    PhaseRun,
    RunState,
    Snapshot,
    SnapshotState,
    StepRun,
)
from rollout.queries.status import status_of

READY = "Scene ready: "
# For each thing that a scene waits for.
WAIT_SECONDS = 120
WRONG_ROWS = 47


class NoScene(Exception):
    """The scene cannot be set; the message says why."""


def play(name: str) -> None:
    """Set a scene and print the path of its page. Raises NoScene and Refused."""
    if PhaseRun.objects.filter(rollout=the_rollout()).exists():
        raise NoScene("The rollout has begun. Start again with RESET=1.")
    scenes: dict[str, Callable[[], None]] = {
        "fresh": lambda: None,
        "backfilling": backfilling,
        "mismatches": mismatches,
        "blocked": blocked,
        "contract": contract,
    }
    scenes[name]()


def ready(path: str) -> None:
    print(f"{READY}{path}", flush=True)


def backfilling() -> None:
    """The page of the backfill's job while it runs."""
    carry_out(0, 1)
    start(2)
    wait_for(lambda: BackfillJob.objects.filter(kind="fill", finished_at=None).exists())
    job = BackfillJob.objects.get(kind="fill", finished_at=None)
    ready(f"/rollout/jobs/{job.pk}/")


def mismatches() -> None:
    """The report of an audit that found wrong rows."""
    carry_out(0, 1, 2)
    plant_wrong_types(WRONG_ROWS)
    audit = full_audit()
    reported = AuditReport.objects.filter(pk=audit.pk, status=AuditStatus.MISMATCHED)
    wait_for(reported.exists)
    ready(audit.get_absolute_url())


def full_audit() -> AuditReport:
    """Once the scheduled sample, which is due right after phase 2, lets it begin."""
    started: list[AuditReport] = []

    def is_started() -> bool:
        with suppress(runner.Refused):
            started.append(runner.start_audit(the_rollout(), actor=user("engineer")))
        return bool(started)

    wait_for(is_started)
    return started[0]


def blocked() -> None:
    """The page of a phase that waits for somebody's transaction, which stays open."""
    carry_out(0)
    with target_of(the_rollout().environment).connect() as other:
        other.execute("SET application_name = 'nightly report'")
        read_on(other)
        start(1)
        waiting = StepRun.objects.filter(state="running").exclude(waiting_for="", activity=None)
        wait_for(waiting.exists)
        ready(f"{the_rollout().get_absolute_url()}phases/1/")
        while not other.closed:
            # Until somebody ends the session, or the demo this process.
            time.sleep(1)
            try:
                other.execute("SELECT 1")
            except psycopg.Error:
                return
            if the_run(1).state == RunState.FAILED:
                # It tries so many times to get its lock, and a preflight refuses to try again
                # beside a transaction as old as this one is by then.
                read_on(other)
                with suppress(runner.Refused):
                    runner.retry(the_rollout(), actor=user("lead"))


def read_on(connection: Connection) -> None:
    """Begin a new transaction that holds a lock on the table."""
    connection.rollback()
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM properties")


def contract() -> None:
    """The page of the start of phase 4, whose gates pass."""
    carry_out(0, 1, 2)
    for number in (3, 4):
        snapshot = runner.take_snapshot(the_rollout(), actor=user("lead"))
        verified = Snapshot.objects.filter(pk=snapshot.pk, state=SnapshotState.VERIFIED)
        wait_for(verified.exists)
        approve_everything(the_rollout(), actor=user("lead2"))
        wait_for(lambda n=number: status_of(the_rollout()).phases[n].can_start)  # type: ignore[misc]
        if number == 3:
            start(3)
            wait_until_done(3)
    ready(f"{the_rollout().get_absolute_url()}phases/4/start/")


def user(name: str) -> User:
    return User.objects.get(username=name)


def start(number: int) -> None:
    """As lead, with the mapping reviewed and the checklist marked before phase 1."""
    if number == 1:
        review_everything(the_rollout(), actor=user("engineer"))
        mark_everything(the_rollout(), actor=user("lead"))
    runner.start(the_rollout(), number, actor=user("lead"))


def carry_out(*numbers: int) -> None:
    for number in numbers:
        start(number)
        wait_until_done(number)


def the_run(number: int) -> PhaseRun:
    return PhaseRun.objects.get(rollout=the_rollout(), phase=number)


def wait_until_done(number: int) -> None:
    def is_done() -> bool:
        run = the_run(number)
        if run.state == RunState.PAUSED:
            # By a guardrail, on a busy machine.
            runner.resume(the_rollout(), actor=user("lead"))
        if run.state == RunState.FAILED:
            raise NoScene(f"Phase {number} failed: {run.error}")
        return run.state == RunState.DONE

    wait_for(is_done)


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise NoScene(f"A wait took more than {WAIT_SECONDS} s. Start again with RESET=1.")
        time.sleep(0.2)
