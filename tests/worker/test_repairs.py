"""Repairs by workers: which passes they do, and what is left when they are killed."""

from pathlib import Path

from rollout import runner
from rollout.journal import activity_log
from rollout.models import (
    AuditReport,
    AuditStatus,
    BackfillJob,
    LogEntry,
    Mismatch,
    Rollout,
    RunState,
)
from tests.support import rollouts
from tests.support.damages import (
    DAMAGE,
    SLOW,
    TABLE,
    changed,
    damage,
    newest_report,
    versions,
    wait_for,
)
from tests.support.processes import Running, manage_process, stopped_after, wait_until
from tests.support.rollouts import ADA
from tests.support.servers import Database
from tests.test_crashes import kill_the_worker_at_its_work


def test_real_workers_repair_by_keys_and_by_category_until_the_audit_is_clean(
    filled: Rollout, committed_db: Database, tmp_path: Path
) -> None:
    for number, change in enumerate(DAMAGE.values()):
        damage(change, 2, where=f"right(id::text, 1) IN ('{number}', '{number + 5}')")
    log_file = tmp_path / "qcluster.log"
    with stopped_after(
        manage_process("qcluster", env=committed_db.env(LOG_LEVEL="INFO"), log=log_file)
    ) as cluster:
        asked = runner.start_audit(filled, actor=ADA)
        wait_until(
            lambda: AuditReport.objects.get(pk=asked.pk).status != AuditStatus.RUNNING,
            seen=cluster.output,
        )
        report = AuditReport.objects.get(pk=asked.pk)
        assert report.mismatched == 10
        before = versions()
        keys = Mismatch.objects.filter(report=report, category="orphan").values_list(
            "key", flat=True
        )
        by_keys = runner.repair(
            filled,
            table=TABLE,
            selection={"keys": [[key] for key in keys], "categories": ["orphan"]},
            report=report,
            actor=ADA,
        )
        wait_for(by_keys, RunState.DONE)
        assert changed(before) == set(keys)
        rest = runner.repair(filled, table=TABLE, selection={}, report=report, actor=ADA)
        wait_for(rest, RunState.DONE)
        wait_until(lambda: newest_report().status == AuditStatus.CLEAN, seen=cluster.output)
    mismatched = set(Mismatch.objects.filter(report=report).values_list("key", flat=True))
    assert changed(before) == mismatched
    assert list(report.repairs.values_list("run", flat=True)) == [by_keys.pk, rest.pk]
    assert activity_log.verify().broken is None


def test_a_repair_of_every_table_leaves_out_those_without_a_row_to_repair(filled: Rollout) -> None:
    damage("currency = 'EUR'", 2)
    preview = runner.preview_repair(filled, "", {})
    assert "properties" in preview.sql
    assert "property_images" not in preview.sql
    run = runner.repair(filled, selection={}, actor=ADA)
    rollouts.work_off(run)
    jobs = BackfillJob.objects.filter(step_run__run=run)
    assert [(job.table, job.kind, job.written) for job in jobs] == [("properties", "repair", 2)]
    assert newest_report().status == AuditStatus.CLEAN


def test_a_worker_that_is_killed_in_the_middle_of_a_repair_replays_nothing(
    committed_db: Database, watchdog: Running, tmp_path: Path
) -> None:
    rows = 6_000
    rollouts.load_listings(rows)
    rollout = rollouts.the_rollout()
    rollouts.carry_out(rollout, 0, 1, 2)
    damage("currency = 'EUR'", rows)
    rollouts.execute(SLOW)
    run = runner.repair(rollout, table=TABLE, selection={}, actor=ADA)
    job = BackfillJob.objects.filter(step_run__run=run)
    log_file = tmp_path / "qcluster.log"
    with stopped_after(
        manage_process("qcluster", env=committed_db.env(LOG_LEVEL="INFO"), log=log_file)
    ) as cluster:
        wait_until(lambda: job.exists() and rollouts.ask(WRITTEN, job.get().pk) > 100)
        kill_the_worker_at_its_work(run)
        assert rollouts.ask(
            "SELECT (SELECT count(*) FROM properties WHERE currency = 'USD')"
            " = (SELECT sum(updated) FROM rollout.lanes WHERE job = %s)",
            job.get().pk,
        )
        assert rollouts.ask("SELECT count(*) FROM properties WHERE currency = 'EUR'") > 0
        # The middle is over: on a busy machine the pace would take minutes for the slow rest.
        rollouts.execute("DROP TRIGGER slow ON properties")
        wait_for(run, RunState.DONE, seconds=240)
        wait_until(lambda: newest_report().status == AuditStatus.CLEAN, seen=cluster.output)
    assert job.get().updated == rows
    run.refresh_from_db()
    assert run.repair.rows_repaired == rows
    brought_back = LogEntry.objects.get(event="brought back")
    assert brought_back.message.startswith(f"{run.title} moves to another worker")


WRITTEN = "SELECT coalesce(sum(updated), 0)::bigint FROM rollout.lanes WHERE job = %s"
