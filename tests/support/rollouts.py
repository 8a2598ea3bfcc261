"""Rollouts under test: who presses, a worker in this process, and small things to look at."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import psycopg
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from django.utils.module_loading import import_string
from django_q.models import OrmQ

from rollout import gates, runner
from rollout.engine.target import Connection
from rollout.gates import Evidence
from rollout.gates.guardrails import smoke_tests_passed
from rollout.journal.actors import Actor
from rollout.journal.environments import target_of
from rollout.models import (
    BackfillJob,
    PhaseRun,
    Rollout,
    RunState,
    ScheduledStart,
    SignOff,
    Snapshot,
    SnapshotState,
)
from rollout.plan import Item, Phase, Plan, ProbeFlow, plans
from rollout.plan.gates import (
    Approved,
    ChecklistComplete,
    MappingReviewed,
    ProbesPassed,
    SnapshotVerified,
)
from rollout.queries import snapshot_trials
from rollout.queries.mapping_reviews import confirmations, review_now
from rollout.queries.status import find_rollout
from rollout.worker.probes import probe_all
from tests.support.processes import wait_until
from tests.support.servers import filled_template

PLAN = "property-classification"


@dataclass(frozen=True)
class Person:
    """Somebody who presses, known by name alone."""

    name: str = "ada"

    def get_username(self) -> str:
        return self.name


ADA = Person()
# What `manage.py rollout …` gives in this process: exit status, output, errors.
Cli = Callable[..., tuple[int, str, str]]


def person(name: str = "ada") -> User:
    """A lead, known to the site: only such a one may sign for anything."""
    user, made = User.objects.get_or_create(username=name)
    if made:
        user.groups.add(Group.objects.get(name="lead"))
    return user


def the_rollout(plan: str = PLAN) -> Rollout:
    return find_rollout(plan, "production")


def load_listings(rows: int) -> None:
    call_command("load_listings", rows=rows, verbosity=0, stdout=_Nowhere())


class _Nowhere:
    def write(self, text: str) -> int:
        return len(text)


@contextmanager
def target() -> Iterator[Connection]:
    """A connection to the database of the environment, with commits of its own."""
    with target_of("production").connect() as opened:
        yield opened


def ask(question: str, *parameters: Any) -> Any:
    """The first value of the first row of a query, asked on a connection of its own.

    What is waited for is asked for again and again on one connection.
    """
    with target_of("production").connect_briefly(60) as opened:
        row = opened.execute(question.encode(), parameters).fetchone()
    return row[0] if row else None


@dataclass(frozen=True)
class Message:
    """What waits in the queue: a function of ``rollout.tasks`` and its arguments."""

    id: int
    task: str
    arguments: tuple[Any, ...]

    def deliver(self) -> None:
        """Carry it out in this process, whether or not it is still in the queue."""
        import_string(self.task)(*self.arguments)


def queued() -> list[Message]:
    """The messages that wait, the oldest first."""
    return [
        Message(row.pk, row.task["func"], tuple(row.task["args"]))
        for row in OrmQ.objects.order_by("pk")
    ]


def lose_the_queue() -> None:
    """Whatever waited is gone, as with a broker that died."""
    OrmQ.objects.all().delete()


def deliver_next() -> Message | None:
    """Take the oldest message from the queue and run it, as a worker does."""
    for message in queued():
        OrmQ.objects.filter(pk=message.id).delete()
        message.deliver()
        return message
    return None


def work(*, until: Callable[[], bool] = lambda: False, at_most: int = 200) -> None:
    """Be the worker until the queue is empty or something is so."""
    for _ in range(at_most):
        if until() or deliver_next() is None:
            return
    raise AssertionError(f"after {at_most} messages there are still more")


def work_in_a_thread() -> None:
    """The same beside the test, which ends with its connection closed."""
    try:
        work()
    finally:
        connection.close()


def work_off(run: PhaseRun, state: RunState = RunState.DONE) -> None:
    """Be the worker until the queue is empty; the run is in that state then.

    A cluster beside may have taken the message first.
    """
    work()
    under_way = {RunState.QUEUED, RunState.RUNNING} - {state}
    wait_until(lambda: state_of(run) not in under_way, seen=lambda: f"{run}")
    run.refresh_from_db()
    assert run.state == state, f"{run}: {run.error}"


def carry_out(rollout: Rollout, *phases: int) -> PhaseRun:
    """Start phases one after the other and work until each is done; the last one's run."""
    return _in_turn(start, rollout, phases)


def snapshot_of(rollout: Rollout) -> Snapshot:
    """Take a snapshot and work until it is verified."""
    snapshot = runner.take_snapshot(rollout, actor=ADA)
    work()
    snapshot.refresh_from_db()
    assert snapshot.state == SnapshotState.VERIFIED, f"{snapshot}: {snapshot.error}"
    return snapshot


def record_snapshot(rollout: Rollout) -> Snapshot:
    """Have a verified snapshot in the journal, as the gates of phases 3 and 4 ask for.

    There is no dump of it, which would take as long as the phase.
    """
    now = timezone.now()
    return Snapshot.objects.create(
        rollout=rollout,
        state=SnapshotState.VERIFIED,
        plan_digest=plans.get(rollout.plan).digest,
        actor_name=ADA.name,
        taken_at=now,
        verified_at=now,
        expires_at=now + timedelta(days=30),
    )


def items_to_tick(plan: str = PLAN) -> list[str]:
    """The items of a plan's checklist that people tick; phase 0 sees to the rest."""
    return [item.id for item in plans.get(plan).checklist if type(item) is Item]


def complete_checklist(rollout: Rollout) -> None:
    for item in items_to_tick(rollout.plan):
        runner.tick(rollout, item, actor=ADA)


def approve(rollout: Rollout, phase: int, *, by: str = "grace") -> SignOff:
    """Have another lead than ada approve a phase as the plan has it now."""
    seen = plans.get(rollout.plan).digest_of(phase)
    return runner.approve(rollout, phase, seen=seen, actor=person(by))


def review_mapping(rollout: Rollout) -> None:
    """Have ada confirm what each legacy value means that nobody has decided on."""
    for lookup in plans.get(rollout.plan).lookups:
        if decisions := confirmations(review_now(rollout, lookup).open):
            runner.review_mapping(rollout, lookup, decisions, actor=ADA)


def prepare(rollout: Rollout, phase: int) -> Actor:
    """See to all that the gates before a phase ask people for; who may start it then."""
    evidence = Evidence(rollout, phase)
    for gate in evidence.gates:
        if gates.check_gate(gate, evidence).lets_through:
            continue
        match gate:
            case ChecklistComplete():
                complete_checklist(rollout)
                # Those from before a rollback no longer count.
                if smoke_tests_passed(evidence).status != "pass":
                    probe_all(rollout)
            case MappingReviewed():
                review_mapping(rollout)
            case SnapshotVerified():
                record_snapshot(rollout)
            case ProbesPassed():
                probe_all(rollout)
            case Approved():
                approve(rollout, phase)
    return person("ada") if any(isinstance(gate, Approved) for gate in evidence.gates) else ADA


def start(rollout: Rollout, phase: int) -> PhaseRun:
    """Have ada start a phase once people have done what its gates ask for.

    That a snapshot can be verified was tried before: each trial makes a database.
    """
    snapshot_trials.remember_success(target_of(rollout.environment), plans.get(rollout.plan))
    return runner.start(rollout, phase, actor=prepare(rollout, phase))


def schedule(rollout: Rollout, at: datetime | None = None, phase: int = 0) -> ScheduledStart:
    """Have ada schedule a phase, in an hour if no time is given."""
    at = at or timezone.now() + timedelta(hours=1)
    return runner.schedule_start(rollout, phase, at=at, zone="Europe/Berlin", actor=ADA)


def listings_template(template: str, *, phases: int) -> str:
    """The name of a database with a few hundred listings and so many phases done."""
    listings = filled_template("listings", template, partial(load_listings, 300))
    return template_after(listings, phases=phases)


def template_after(template: str, *, phases: int) -> str:
    """The name of a copy of a template in which so many phases have been run."""
    for phase in range(phases):
        template = filled_template(f"{phase}", template, partial(_carry_out, phase))
    return template


def _carry_out(phase: int) -> None:
    carry_out(the_rollout(), phase)


def carry_back(rollout: Rollout, *phases: int) -> PhaseRun:
    """Roll phases back one after the other; the last one's run."""
    return _in_turn(partial(runner.roll_back, actor=ADA), rollout, phases)


def _in_turn(verb: Callable[..., PhaseRun], rollout: Rollout, phases: tuple[int, ...]) -> PhaseRun:
    for phase in phases:
        run = verb(rollout, phase)
        work_off(run)
    return run


def the_job(kind: str = "fill") -> BackfillJob:
    """The one job of a kind."""
    return BackfillJob.objects.select_related("step_run__run__rollout").get(kind=kind)


def state_of(run: PhaseRun) -> str:
    return str(PhaseRun.objects.values_list("state", flat=True).get(pk=run.pk))


def execute(statement: str) -> None:
    """Run a statement on Django's connection."""
    with connection.cursor() as cursor:
        cursor.execute(statement)


def execute_past_triggers(statement: str) -> None:
    """Run a statement on listings that the dual write does not see."""
    with target() as opened:
        opened.execute("ALTER TABLE properties DISABLE TRIGGER USER")
        opened.execute(statement.encode())
        opened.execute("ALTER TABLE properties ENABLE TRIGGER USER")


@contextmanager
def locked(statement: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A transaction of somebody else, that has carried a statement out and stays open."""
    with target() as opened, opened.transaction():
        opened.execute(statement.encode())
        yield opened


class Flow:
    """A flow of a tiny plan; each test says what happens meanwhile, elsewhere."""

    def __init__(self) -> None:
        self.does: Callable[[], None] = lambda: None
        self.calls = 0

    def __call__(self, *, using: str) -> str:
        self.calls += 1
        # On a connection of its own: what a flow does on the given one is rolled back.
        with ThreadPoolExecutor(1) as elsewhere:
            elsewhere.submit(self._do).result()
        return "It works."

    def _do(self) -> None:
        try:
            self.does()
        finally:
            connection.close()


flow = Flow()

TINY = Plan(
    name="tiny",
    title="Tiny",
    description="Five phases that change nothing.",
    tables=(),
    translations=(),
    phases=tuple(  # type: ignore[arg-type]
        Phase(
            steps=(
                ProbeFlow(id="first", description="Try it out", flow="tests.support.rollouts.flow"),
                ProbeFlow(id="second", description="Try again", flow="tests.support.rollouts.flow"),
            )
        )
        for _ in range(5)
    ),
)


@contextmanager
def known(plan: Plan) -> Iterator[Rollout]:
    """A plan of the project, for as long as this lasts."""
    plans._plans.append(plan)
    try:
        yield the_rollout(plan.name)
    finally:
        plans._plans.remove(plan)


@contextmanager
def tiny_plan() -> Iterator[Plan]:
    """The tiny plan, known for as long as this lasts."""
    plans._plans.append(TINY)
    flow.does, flow.calls = lambda: None, 0
    try:
        yield TINY
    finally:
        plans._plans.remove(TINY)
        # Other plans have the same steps.
        flow.does = lambda: None
