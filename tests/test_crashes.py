"""Whatever dies in the middle of a backfill: it ends, and every row was counted once."""

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from django.utils import timezone

from rollout import runner
from rollout.journal import activity_log
from rollout.models import (
    AuditReport,
    BackfillJob,
    ChainState,
    LogEntry,
    PhaseRun,
    RollbackChain,
    Rollout,
    RunState,
)
from rollout.plan import plans
from tests.plan.test_kept_names import NUMBERED, WIDENING
from tests.support import rollouts
from tests.support.own_plan_sites import env_with_plan
from tests.support.processes import Running, manage_process, stopped_after, wait_until
from tests.support.rollouts import ADA, PLAN
from tests.support.servers import (
    DELIVERED_TWICE,
    Database,
    OwnServer,
    copy_to_other_server,
    in_place_of_the_default,
    manage,
)

if TYPE_CHECKING:
    from pytest_django.plugin import DjangoDbBlocker

pytestmark = pytest.mark.xdist_group("crashes")

MANY = 40_000
FEW = 10_000
# Every batch takes a while, in its transaction, so that there is time to die in the middle of it.
SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM nextval('batches'), pg_sleep({seconds}); RETURN NULL; END $$;
CREATE SEQUENCE batches;
CREATE TRIGGER slow AFTER UPDATE ON properties FOR EACH STATEMENT EXECUTE FUNCTION slow();
"""
# As many as fit into a second and a half, also where a busy machine takes longer for each.
A_FEW = 30
BATCHES = "SELECT last_value FROM batches"
WRITTEN = "SELECT coalesce(sum(updated), 0)::bigint FROM rollout.lanes"
# One statement, one snapshot: the rows that are filled are those that the checkpoint counts.
CHECKPOINT_IS_TRUE = """
SELECT (SELECT count(*) FROM properties WHERE property_type_id IS NOT NULL)
     = (SELECT sum(updated) FROM rollout.lanes)
"""
EVERYTHING = "SELECT jsonb_object_agg(id, to_jsonb(p)) FROM properties AS p"


def before_the_backfill(expanded: Rollout, rows: int) -> Rollout:
    """The property rollout with so many listings, each batch of which takes a while."""
    # Those that are there already are left as they are.
    rollouts.load_listings(rows)
    rollouts.execute(SLOW.format(seconds=0.05))
    return expanded


def wait_for(run: PhaseRun, state: RunState, *, seconds: float = 60) -> None:
    def state_now() -> str:
        run.refresh_from_db()
        return f"{run}, token {run.token}, {run.worker}: {run.error} {list(run.steps.values())}"

    wait_until(lambda: rollouts.state_of(run) == state, seconds=seconds, seen=state_now)


def wait_for_rows(rows: int) -> None:
    wait_until(lambda: rollouts.ask(WRITTEN) >= rows, seconds=90)


def kill_the_worker_at_its_work(run: PhaseRun) -> str:
    """SIGKILL to the process that is filling rows; its name.

    An idle one is spared: its death could take the queue's lock along.
    """
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        run.refresh_from_db()
        with contextlib.suppress(psutil.NoSuchProcess, ValueError):
            process = psutil.Process(int(run.worker.rpartition(":")[2]))
            process.suspend()
            if rollouts.ask("SELECT max(holder) FROM rollout.lanes") == run.worker:
                process.kill()
                return run.worker
            process.resume()
    raise AssertionError(f"no worker was seen at work on {run}")


def ten_seconds_pass(run: PhaseRun) -> None:
    """Nothing was heard of the dead worker for as long as a lease."""
    ago = timezone.now() - timedelta(seconds=1)
    PhaseRun.objects.filter(pk=run.pk).update(lease_until=ago)
    rollouts.execute("UPDATE rollout.lanes SET lease_until = now() - interval '1 second'")


def another_has_it(run: PhaseRun, dead: str) -> Callable[[], bool]:
    def is_so() -> bool:
        run.refresh_from_db()
        return run.worker not in ("", dead)

    return is_so


@contextlib.contextmanager
def a_cluster(database: Database, log_file: Path) -> Iterator[Running]:
    with stopped_after(
        manage_process("qcluster", env=database.env(LOG_LEVEL="INFO"), log=log_file)
    ) as cluster:
        cluster.wait_for(lambda: "running" in cluster.output())
        yield cluster


def assert_every_row_was_counted_once(rows: int) -> None:
    job = BackfillJob.objects.get(kind="fill")
    assert (job.scanned, job.updated, job.already_right, job.rewritten) == (rows, rows, 0, 0)
    report = AuditReport.objects.filter(run=job.step_run.run).latest("pk")
    assert (report.status, report.rows) == ("clean", rows)
    assert activity_log.verify().broken is None


def test_workers_and_a_whole_cluster_are_killed_and_the_backfill_ends(
    committed_db: Database, expanded: Rollout, watchdog: Running, tmp_path: Path
) -> None:
    rollout = before_the_backfill(expanded, MANY)
    run = runner.start(rollout, 2, actor=ADA)
    with a_cluster(committed_db, tmp_path / "first.log") as cluster:
        wait_for_rows(3_000)
        dead = kill_the_worker_at_its_work(run)
        assert rollouts.ask(CHECKPOINT_IS_TRUE)
        # The first time in full: only the watchdog brings it back.
        wait_until(another_has_it(run, dead), seen=cluster.output)
        for rows in (8_000, 13_000):
            wait_for_rows(rows)
            dead = kill_the_worker_at_its_work(run)
            assert rollouts.ask(CHECKPOINT_IS_TRUE)
            ten_seconds_pass(run)
            wait_until(another_has_it(run, dead), seen=cluster.output)
        wait_for_rows(18_000)
        for process in cluster.session():
            process.kill()
    assert rollouts.ask(CHECKPOINT_IS_TRUE)
    ten_seconds_pass(run)
    # Nothing dies from here on.
    rollouts.execute("DROP TRIGGER slow ON properties")
    with a_cluster(committed_db, tmp_path / "second.log"):
        wait_for(run, RunState.DONE)
    assert_every_row_was_counted_once(MANY)
    brought_back = LogEntry.objects.filter(event="brought back")
    assert brought_back.count() >= 3
    assert all("was unresponsive for 10 s" in entry.message for entry in brought_back)


def test_a_pause_takes_effect_within_a_second_and_a_resume_continues_from_there(
    expanded: Rollout, qcluster: Running, watchdog: Running
) -> None:
    run = runner.start(before_the_backfill(expanded, FEW), 2, actor=ADA)
    wait_for_rows(1_000)
    for rows in (3_000, 5_000):
        runner.pause(run.rollout, actor=ADA)
        pressed = rollouts.ask(BATCHES)
        wait_for(run, RunState.PAUSED)
        assert rollouts.ask(BATCHES) - pressed <= A_FEW
        assert rollouts.ask("SELECT max(holder) FROM rollout.lanes") == ""
        assert rollouts.ask(CHECKPOINT_IS_TRUE)
        assert 0 < rollouts.ask(WRITTEN) < FEW
        runner.resume(run.rollout, actor=ADA)
        wait_for_rows(rows)
    wait_for(run, RunState.DONE)
    assert_every_row_was_counted_once(FEW)


def test_a_backfill_that_was_cancelled_is_rolled_back_to_what_was_there(
    expanded: Rollout, qcluster: Running, watchdog: Running
) -> None:
    rollout = before_the_backfill(expanded, FEW)
    before = rollouts.ask(EVERYTHING)
    run = runner.start(rollout, 2, actor=ADA)
    wait_for_rows(2_000)
    runner.cancel(rollout, actor=ADA)
    pressed = rollouts.ask(BATCHES)
    wait_for(run, RunState.CANCELLED)
    assert rollouts.ask(BATCHES) - pressed <= A_FEW
    assert 0 < rollouts.ask("SELECT count(*) FROM properties WHERE currency = 'USD'") < FEW
    wait_for(runner.roll_back(rollout, 2, actor=ADA), RunState.DONE)
    assert rollouts.ask(EVERYTHING) == before
    assert rollouts.ask("SELECT count(*) FROM property_types") == 0
    assert rollouts.ask("SELECT write_mode FROM rollout.modes") == "legacy"
    wait_for(runner.start(rollout, 2, actor=ADA), RunState.DONE)


def test_every_message_delivered_twice_does_everything_once(
    committed_db: Database, qcluster: Running, watchdog: Running
) -> None:
    rollouts.load_listings(FEW)
    rollouts.execute(DELIVERED_TWICE)
    rollouts.execute(SLOW.format(seconds=0.05))
    rollout = rollouts.the_rollout()
    for phase in (0, 1, 2):
        wait_for(rollouts.start(rollout, phase), RunState.DONE)
    assert_every_row_was_counted_once(FEW)
    done = LogEntry.objects.filter(event="phase done").order_by("pk")
    assert list(done.values_list("phase", flat=True)) == [0, 1, 2]
    steps = LogEntry.objects.filter(event="step done").values_list("phase", "data__step")
    assert len(steps) == len(set(steps))


# The names are handed on by then, in the transaction in which the triggers are turned.
HALTED = """
CREATE FUNCTION halt() RETURNS event_trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(60); END $$;
CREATE EVENT TRIGGER halt ON ddl_command_end WHEN TAG IN ('CREATE TRIGGER')
  EXECUTE FUNCTION halt();
"""
HALTED_AT = """SELECT pid FROM pg_stat_activity WHERE datname = current_database()
 AND wait_event = 'PgSleep' AND application_name = 'rollout'"""
AMOUNT = """SELECT string_agg(attname || ' ' || atttypid::regtype, ', ' ORDER BY attname)
 FROM pg_attribute WHERE attrelid = '"Order Item"'::regclass AND starts_with(attname, 'Amount')"""


def test_a_worker_killed_while_names_are_handed_on_leaves_those_of_before(
    committed_db: Database, watchdog: Running, own_plans: None, tmp_path: Path
) -> None:
    plans.register(WIDENING)
    env = env_with_plan(committed_db, tmp_path, "tests.plan.test_kept_names.WIDENING")
    rollouts.execute(NUMBERED)
    rollout = rollouts.the_rollout(WIDENING.name)
    rollouts.carry_out(rollout, 0, 1, 2)
    before = rollouts.ask(AMOUNT)
    rollouts.execute(HALTED)
    log = tmp_path / "kept.log"
    with stopped_after(manage_process("qcluster", env=env, log=log)) as cluster:
        run = rollouts.start(rollout, 3)
        wait_until(lambda: rollouts.ask(HALTED_AT) is not None, seen=cluster.output)
        run.refresh_from_db()
        dead = run.worker
        psutil.Process(int(dead.rpartition(":")[2])).kill()
        rollouts.execute("DROP EVENT TRIGGER halt")
        # The server notices at its next answer that nobody is there.
        rollouts.execute(f"SELECT pg_terminate_backend(pid) FROM ({HALTED_AT}) AS halted")
        assert rollouts.ask(AMOUNT) == before
        rollouts.execute('UPDATE "Order Item" SET "Amount" = 70 WHERE "Order" = 5')
        ten_seconds_pass(run)
        wait_for(run, RunState.DONE)
        assert rollouts.ask(AMOUNT) == "Amount bigint, Amount_legacy integer"
        rollouts.execute('UPDATE "Order Item" SET "Amount" = 80 WHERE "Order" = 6')
        for phase in (4, 3):
            if phase == 4:
                wait_for(rollouts.start(rollout, phase), RunState.DONE)
            wait_for(runner.roll_back(rollout, phase, actor=ADA), RunState.DONE)
    assert rollouts.ask(AMOUNT) == before
    amounts = 'SELECT array_agg("Amount" ORDER BY "Order") FROM "Order Item" WHERE "Order" < 8'
    assert rollouts.ask(amounts) == [3, 6, 9, 12, 70, 80, 21]
    assert LogEntry.objects.filter(event="brought back").exists()
    assert activity_log.verify().broken is None


def test_a_database_that_was_shut_down_in_the_middle_is_waited_for(
    own_server: OwnServer, template: str, django_db_blocker: "DjangoDbBlocker", tmp_path: Path
) -> None:
    database, ask = own_server.database, own_server.ask
    with django_db_blocker.unblock():
        copy_to_other_server(rollouts.listings_template(template, phases=2), database.url)
        with in_place_of_the_default(database.url):
            before_the_backfill(rollouts.the_rollout(), FEW)
    env = database.env(LOG_LEVEL="INFO")
    with (
        stopped_after(manage_process("qcluster", env=env, log=tmp_path / "qcluster.log")),
        stopped_after(manage_process("rollout", "watchdog", env=env, log=tmp_path / "dog.log")),
    ):
        manage("rollout", "start", PLAN, "2", url=database.url)
        wait_until(lambda: (ask(WRITTEN) or 0) > 1_000)
        own_server.crash()
        assert ask(CHECKPOINT_IS_TRUE) is True
        # The last moments before it are lost, rows and checkpoint together.
        assert ask(WRITTEN) < FEW
        wait_until(
            lambda: ask("SELECT state FROM rollout_phaserun WHERE phase = 2") == "done",
            seconds=90,
            seen=lambda: (
                (tmp_path / "dog.log").read_text() + (tmp_path / "qcluster.log").read_text()
            ),
        )
    assert ask("SELECT updated FROM rollout_backfilljob WHERE kind = 'fill'") == FEW
    assert ask("SELECT status FROM rollout_auditreport ORDER BY id DESC LIMIT 1") == "clean"
    assert ask("SELECT count(*) > 0 FROM rollout_logentry WHERE event = 'brought back'") is True
    assert "Hash chain OK" in manage("rollout", "verify-log", url=database.url)


def test_a_worker_killed_between_two_rollbacks_leaves_the_rest_to_the_watchdog(
    committed_db: Database, watchdog: Running, tmp_path: Path
) -> None:
    rollouts.load_listings(100)
    rollout = rollouts.the_rollout()
    rollouts.carry_out(rollout, 0, 1)
    first = runner.roll_back_to(rollout, -1, actor=ADA)
    chain = RollbackChain.objects.get()
    # Who is done with the first rollback asks here for the next, and so does the watchdog.
    between = f"LOCK TABLE {RollbackChain._meta.db_table} IN ACCESS EXCLUSIVE MODE"
    with (
        rollouts.locked(between),
        a_cluster(committed_db, tmp_path / "cluster.log"),
    ):
        wait_for(first, RunState.DONE)
        first.refresh_from_db()
        psutil.Process(int(first.worker.rpartition(":")[2])).kill()
    # The dead worker's message is not delivered again: the other cluster has an empty queue.
    with a_cluster(committed_db, tmp_path / "another.log") as cluster:
        wait_until(
            lambda: RollbackChain.objects.filter(pk=chain.pk, state=ChainState.DONE).exists(),
            seconds=60,
            seen=cluster.output,
        )
    started = LogEntry.objects.filter(event="rollback started").order_by("pk")
    assert list(started.values_list("phase", "source")) == [(1, "web"), (0, "watchdog")]
    assert activity_log.verify().broken is None
