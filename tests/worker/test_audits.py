"""Audit reports: asked for by people, by a shell, or by a phase."""

import re

import pytest

from rollout import runner
from rollout.engine.audit import AuditResult
from rollout.journal import heartbeats
from rollout.models import AuditReport, AuditStatus, Heartbeat, LogEntry, Rollout
from rollout.runner import audits
from rollout.worker import audits as worker_audits
from rollout.worker.leases import Lease
from tests.support import rollouts
from tests.support.rollouts import ADA, PLAN, Cli


def spoil(rows: int) -> None:
    rollouts.execute_past_triggers(
        "UPDATE properties SET currency = 'EUR' WHERE id IN"
        f" (SELECT id FROM properties ORDER BY id LIMIT {rows})"
    )


def test_an_audit_before_anything_was_added_is_inconclusive_and_says_why(
    properties: Rollout,
) -> None:
    report = audits.make_now(properties, actor_name="ada", source="shell")
    assert report.status == AuditStatus.INCONCLUSIVE
    assert "Start phases 1 and 2 first." in report.message


def test_an_audit_that_was_given_up_meanwhile_is_not_finished_over_that(
    properties: Rollout,
) -> None:
    def is_given_up(report: AuditReport, lease: Lease) -> AuditResult:
        AuditReport.objects.update(status=AuditStatus.INCONCLUSIVE, message="Given up.")
        return AuditResult()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_audits, "_compare", is_given_up)
        report = audits.make_now(properties, actor_name="ada", source="shell")
    assert (report.status, report.message) == (AuditStatus.INCONCLUSIVE, "Given up.")
    assert not LogEntry.objects.filter(event="audit done").exists()


def test_an_audit_from_the_queue_accounts_for_every_row(filled: Rollout) -> None:
    report = runner.start_audit(filled, actor=ADA)
    assert report.status == AuditStatus.RUNNING
    rollouts.work()
    report.refresh_from_db()
    assert report.status == AuditStatus.CLEAN
    assert report.rows == report.matched == sum(report.categories.values()) == 300
    assert report.finished_at is not None
    entry = LogEntry.objects.filter(event="audit done").latest("pk")
    assert entry.data == {
        "report": report.pk,
        "status": "clean",
        "mode": "full",
        "rows": 300,
        "categories": report.categories,
        "conflicting_writes": 0,
        "mapping": report.mapping_digest,
        "mapping_values": report.mapping_values,
        "mapping_reviewed": 0,
    }


def test_mismatching_rows_are_kept_with_what_was_expected(filled: Rollout) -> None:
    spoil(7)
    report = audits.make_now(filled, actor_name="ada", source="shell")
    assert (report.status, report.mismatched, report.matched) == (AuditStatus.MISMATCHED, 7, 293)
    assert report.stored_mismatches == report.found.count() == 7
    mismatch = report.found.all()[0]
    assert (mismatch.column, mismatch.expected, mismatch.actual) == ("currency", "USD", "EUR")


def test_an_audit_message_delivered_twice_makes_one_report(filled: Rollout) -> None:
    done = LogEntry.objects.filter(event="audit done").count()
    runner.start_audit(filled, actor=ADA)
    (message,) = rollouts.queued()
    message.deliver()
    message.deliver()
    assert LogEntry.objects.filter(event="audit done").count() == done + 1


def test_an_audit_that_a_shell_makes_is_no_sign_of_a_worker(filled: Rollout) -> None:
    # On a slow machine its worker may have said that it lives.
    Heartbeat.objects.all().delete()
    report = AuditReport.objects.create(
        rollout=filled, actor_name="ada", started_at=filled.created_at
    )
    with Lease(report, on_wait=lambda _: None, from_queue=False) as lease:
        lease._extend()
    assert not heartbeats.liveness().worker_alive


def test_a_write_that_contradicts_itself_stands_in_the_report_which_is_clean(
    filled: Rollout, cli: Cli
) -> None:
    rollouts.execute(
        "SET application_name = 'shop 2.0';"
        " UPDATE properties SET type = 'Castle', property_type_id = (SELECT max(id) FROM"
        " property_types) WHERE id = (SELECT min(id::text)::uuid FROM properties);"
        " RESET application_name"
    )
    code, out, _ = cli("audit", PLAN)
    assert code == 0
    assert re.search(
        r"1 conflicting write to properties\.property_type_id by shop 2\.0, the newest to row "
        r"[0-9a-f-]{36}: legacy 'Castle', new '\d+'\.",
        out,
    )
    report = AuditReport.objects.latest("pk")
    assert (report.status, report.conflicts) == (AuditStatus.CLEAN, 1)
