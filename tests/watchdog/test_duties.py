"""A watchdog and a queue cluster run each duty; an environment that is dead stops none."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db.models import F
from django.utils import timezone
from django_q.models import OrmQ

from rollout.journal import activity_log
from rollout.journal.events import Event
from rollout.models import (
    AuditReport,
    AuditStatus,
    ChainState,
    DatabaseReading,
    Delivery,
    Direction,
    Environment,
    EnvironmentState,
    Heartbeat,
    LogCheck,
    LogEntry,
    Measurement,
    PhaseRun,
    Rehearsal,
    Restore,
    RollbackChain,
    Rollout,
    RuleState,
    RunState,
    ScheduledStart,
    ScheduleState,
    SignOff,
    Snapshot,
    SnapshotState,
    WatchedTime,
)
from rollout.plan import plans
from rollout.watchdog.duties import duties
from rollout.worker import dump_storage
from tests.console import journal
from tests.support import rollouts
from tests.support.intervals import QUICK_DUTIES
from tests.support.processes import manage_process, stopped_after, wait_until
from tests.support.receivers import Receiver, receiver
from tests.support.rollouts import PLAN
from tests.support.servers import database_of_its_own
from tests.watchdog.old_rows import (
    LONG_AGO,
    make_view_that_is_out_of_date,
    write_what_is_kept_no_longer,
)

if TYPE_CHECKING:
    from pytest_django.plugin import DjangoDbBlocker


pytestmark = pytest.mark.xdist_group("processes")
COUNTED = """
SELECT coalesce(sum(listings), 0)::int FROM property_listing_counts WHERE city IS NULL"""
Test = TypeVar("Test", bound=Callable[..., None])
_proved: set[str] = set()


def proves(duty: str) -> Callable[[Test], Test]:
    """Names the duty that a test sees run."""

    def note(test: Test) -> Test:
        _proved.add(duty)
        return test

    return note


@dataclass(frozen=True)
class Site:
    """Rollouts in several environments, under the eyes of a watchdog with a queue cluster.

    ``filled`` is at the end of phase 2, ``complete`` at the end of phase 4, ``fresh`` at its
    beginning; all three look at one database.
    """

    since: datetime
    filled: Rollout
    complete: Rollout
    fresh: Rollout
    dead: Rollout
    snapshot: Snapshot
    chat: Receiver
    output: Callable[[], str]

    def sees(self, is_so: Callable[[], bool]) -> None:
        wait_until(is_so, seen=self.output)


@pytest.fixture(scope="module")
def busy(
    template: str,
    django_db_blocker: "DjangoDbBlocker",
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    logs = tmp_path_factory.mktemp("logs")
    with django_db_blocker.unblock():
        filled = rollouts.listings_template(template, phases=3)
        with database_of_its_own(filled) as database, receiver() as chat:
            hooks = json.dumps({"chat": {"URL": chat.url}})
            env = database.env(
                LOG_LEVEL="INFO",
                ROLLOUT_WEBHOOKS=hooks,
                ROLLOUT_WEBHOOKS_ALLOW_HTTP="1",
                **QUICK_DUTIES,
            )
            since = timezone.now()
            rows = _rows(database.url)
            with (
                stopped_after(manage_process("qcluster", env=env, log=logs / "queue")) as cluster,
                stopped_after(
                    manage_process("rollout", "watchdog", env=env, log=logs / "watchdog")
                ) as watchdog,
            ):
                yield Site(
                    since=since,
                    chat=chat,
                    output=lambda: watchdog.output() + cluster.output(),
                    **rows,
                )
                assert watchdog.process.poll() is None, watchdog.output()


def _rows(url: str) -> dict[str, Any]:
    """What the journal knows when the watchdog begins."""
    from config import embedded

    production = rollouts.the_rollout()
    snapshot = Snapshot.objects.create(
        rollout=production, state=SnapshotState.FAILED, plan_digest=plans.get(PLAN).digest
    )
    there = embedded.database_name(url)
    rehearsals = {
        name: _environment(name, database, snapshot)
        for name, database in (("dead", "no_such_database"), ("complete", there), ("fresh", there))
    }
    for phase in range(5):
        _done(rehearsals["complete"], phase)
    for phase in range(3):
        _done(rehearsals["dead"], phase)
    write_what_is_kept_no_longer(production)
    make_view_that_is_out_of_date()
    return {"filled": production, "snapshot": snapshot, **rehearsals}


def _environment(
    name: str,
    database: str,
    snapshot: Snapshot,
    state: EnvironmentState = EnvironmentState.READY,
) -> Rollout:
    Environment.objects.create(
        name=name, plan=PLAN, beside="production", database=database, snapshot=snapshot, state=state
    )
    return Rollout.objects.create(plan=PLAN, environment=name)


def _done(rollout: Rollout, phase: int) -> None:
    PhaseRun.objects.create(
        rollout=rollout, phase=phase, state=RunState.DONE, finished_at=timezone.now()
    )


def lost() -> dict[str, Any]:
    """Fields of work whose worker took it and died."""
    return {
        "token": 1,
        "worker": "gone:1",
        "lease_until": timezone.now() - timedelta(seconds=1),
    }


def test_every_duty_has_a_test_here() -> None:
    names = [duty.name for duty in duties()]
    assert len(names) == len(set(names))
    assert _proved == set(names), "see each duty happen, with a real watchdog, in this file"


@proves("queue beat")
def test_beat_goes_through_the_queue_again_and_again(busy: Site) -> None:
    def seen_since(moment: datetime) -> bool:
        return Heartbeat.objects.filter(kind="worker", seen_at__gt=moment).exists()

    busy.sees(lambda: seen_since(busy.since))
    now = timezone.now()
    busy.sees(lambda: seen_since(now))


@proves("clock watch")
def test_time_is_seen_to_pass_without_a_break(busy: Site) -> None:
    busy.sees(lambda: WatchedTime.objects.filter(ended_at__gt=F("began_at")).exists())


@proves("approval reminders")
def test_request_that_nobody_answered_is_repeated(busy: Site) -> None:
    asked = journal.signed(busy.filled, "request", at=timezone.now() - timedelta(days=2))
    busy.sees(SignOff.objects.filter(pk=asked.pk, reminders=1).exists)


@proves("log verification")
def test_log_is_verified_with_each_new_entry(busy: Site) -> None:
    entry = activity_log.record(Event.RESUMED, "Told.", actor="ada", source="web", on=busy.filled)
    busy.sees(LogCheck.objects.filter(last_entry__gte=entry.pk, broken_entry=None).exists)


@proves("guardrails")
def test_guardrails_are_evaluated(busy: Site) -> None:
    evaluated = RuleState.objects.filter(rollout=busy.filled, judged_at__gt=busy.since)
    busy.sees(lambda: evaluated.count() == len(plans.get(PLAN).all_guardrails))


@proves("sampled audits")
def test_sampled_audit_is_requested_and_made(busy: Site) -> None:
    samples = AuditReport.objects.filter(scheduled=True, actor_name="schedule")
    busy.sees(lambda: samples.filter(rollout=busy.filled, status=AuditStatus.CLEAN).exists())
    busy.sees(lambda: samples.filter(rollout=busy.dead, status=AuditStatus.INCONCLUSIVE).exists())


@proves("scheduled starts")
def test_scheduled_start_is_made(busy: Site) -> None:
    start = ScheduledStart.objects.create(
        rollout=busy.fresh,
        phase=0,
        at=timezone.now(),
        zone="UTC",
        actor_name="ada",
        phase_digest=plans.get(PLAN).digest_of(0),
    )
    made = ScheduledStart.objects.filter(pk=start.pk).exclude(state=ScheduleState.WAITING)
    busy.sees(made.exists)
    assert made.get().state == ScheduleState.STARTED, made.get().outcome
    assert busy.fresh.runs.get().actor_name == "ada"


@proves("delivery collection")
@proves("deliveries")
def test_news_are_collected_and_delivered(busy: Site) -> None:
    entry = activity_log.record(
        Event.PHASE_FAILED, "Told.", actor="ada", source="web", on=busy.filled
    )
    busy.sees(lambda: Delivery.objects.filter(entry=entry).exists())
    busy.sees(lambda: entry.pk in [delivery.json["data"]["entry"] for delivery in busy.chat.taken])


@proves("lost runs")
def test_lost_run_is_brought_to_its_end(busy: Site) -> None:
    run = PhaseRun.objects.create(
        rollout=busy.complete,
        phase=0,
        direction=Direction.BACKWARD,
        state=RunState.RUNNING,
        plan_digest=plans.get(PLAN).digest,
        **lost(),
    )
    busy.sees(lambda: rollouts.state_of(run) == RunState.DONE)
    entry = LogEntry.objects.get(event="brought back", data__run=run.pk)
    assert "gone:1 was unresponsive" in entry.message


@proves("lost audits")
def test_lost_audit_is_made(busy: Site) -> None:
    report = AuditReport.objects.create(
        rollout=busy.fresh, started_at=timezone.now(), actor_name="ada", **lost()
    )
    made = AuditReport.objects.filter(pk=report.pk, status=AuditStatus.CLEAN)
    busy.sees(made.exists)


@proves("rollback chains")
def test_rollback_that_lost_its_worker_between_two_phases_is_continued(busy: Site) -> None:
    there = Environment.objects.get(name="complete").database
    halfway = _environment("halfway", there, busy.snapshot)
    chain = RollbackChain.objects.create(
        rollout=halfway,
        first_phase=1,
        to_phase=-1,
        actor_name="ada",
        plan_digest=plans.get(PLAN).digest,
    )
    _done(halfway, 0)
    PhaseRun.objects.create(
        rollout=halfway, phase=1, direction=Direction.BACKWARD, state=RunState.DONE, chain=chain
    )
    busy.sees(RollbackChain.objects.filter(pk=chain.pk, state=ChainState.DONE).exists)
    assert chain.runs.get(phase=0).state == RunState.DONE


# The work of these is tested elsewhere: a worker that takes one up gives it up at once, since so
# many died of it before.


@proves("lost snapshots")
def test_lost_snapshot_is_resumed(busy: Site) -> None:
    work = Snapshot.objects.create(rollout=busy.fresh, attempts=3, **lost())
    busy.sees(Snapshot.objects.filter(pk=work.pk, error__contains="3 workers crashed").exists)


@proves("lost restores")
def test_lost_restore_is_resumed(busy: Site) -> None:
    work = Restore.objects.create(
        rollout=busy.complete, snapshot=busy.snapshot, attempts=3, **lost()
    )
    busy.sees(Restore.objects.filter(pk=work.pk, error__contains="3 workers crashed").exists)


@proves("lost rehearsals")
def test_lost_rehearsal_is_resumed(busy: Site) -> None:
    sandbox = _environment("rehearsal-1", "none_yet", busy.snapshot, EnvironmentState.MAKING)
    work = Rehearsal.objects.create(
        rollout=busy.filled,
        snapshot=busy.snapshot,
        environment=Environment.objects.get(name="rehearsal-1"),
        sandbox=sandbox,
        plan_digest=plans.get(PLAN).digest,
        first_phase=0,
        attempts=5,
        **lost(),
    )
    busy.sees(Rehearsal.objects.filter(pk=work.pk, error__contains="5 workers crashed").exists)


@proves("rehearsals")
def test_rehearsal_that_was_requested_with_a_snapshot_is_answered(busy: Site) -> None:
    snapshot = Snapshot.objects.create(
        rollout=busy.complete,
        state=SnapshotState.VERIFIED,
        plan_digest=plans.get(PLAN).digest,
        phases=["done"] * 5,
        then_rehearse=True,
    )
    refused = LogEntry.objects.filter(event="rehearsal refused", data__snapshot=snapshot.pk)
    busy.sees(refused.exists)
    assert "already has every phase applied" in refused.get().message
    snapshot.refresh_from_db()
    assert not snapshot.then_rehearse


@proves("view refreshes")
def test_materialized_view_is_refreshed(busy: Site) -> None:
    busy.sees(lambda: rollouts.ask(COUNTED) == rollouts.ask("SELECT count(*) FROM properties"))


@proves("database statistics")
def test_database_statistics_are_read(busy: Site) -> None:
    busy.sees(lambda: DatabaseReading.objects.filter(rollout=busy.filled).exists())
    assert not DatabaseReading.objects.filter(rollout=busy.dead).exists()


@proves("snapshot expiry")
def test_expired_snapshot_loses_its_dump(busy: Site) -> None:
    name = storages["snapshots"].save("expired.dump", ContentFile(b"a dump"))
    snapshot = Snapshot.objects.create(
        rollout=busy.filled,
        state=SnapshotState.VERIFIED,
        storage_name=name,
        expires_at=timezone.now() - timedelta(seconds=1),
    )
    busy.sees(Snapshot.objects.filter(pk=snapshot.pk, state=SnapshotState.DELETED).exists)
    assert not dump_storage.exists(name)


@proves("telemetry retention")
def test_old_measurements_are_forgotten(busy: Site) -> None:
    busy.sees(lambda: not Measurement.objects.filter(operation="long ago").exists())


@proves("statistics retention")
def test_old_database_statistics_are_forgotten(busy: Site) -> None:
    busy.sees(lambda: not DatabaseReading.objects.filter(at__lt=LONG_AGO).exists())


@proves("heartbeat retention")
def test_old_heartbeats_are_forgotten(busy: Site) -> None:
    busy.sees(lambda: not Heartbeat.objects.filter(seen_at=LONG_AGO).exists())


@proves("delivery retention")
def test_old_deliveries_are_forgotten(busy: Site) -> None:
    busy.sees(lambda: not Delivery.objects.filter(finished_at=LONG_AGO).exists())


@proves("queue retention")
def test_messages_of_workers_that_died_are_forgotten(busy: Site) -> None:
    busy.sees(lambda: not OrmQ.objects.filter(payload="of a worker that died").exists())
