"""The figures for Prometheus say what the journal says."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from rollout.health import collector
from rollout.journal.environments import target_of
from rollout.models import Finding, Rollout, RuleState
from rollout.telemetry.recorder import Recorder
from tests.console import journal

LABELS = {"plan": journal.PLAN, "environment": "production"}
TOKEN = "a long token"


@pytest.fixture
def prometheus(settings: Any, db: None) -> Client:
    settings.ROLLOUT = {**settings.ROLLOUT, "METRICS": {"TOKEN": TOKEN}}
    return Client(headers={"Authorization": f"Bearer {TOKEN}"})


class Scrape(dict[tuple[str, frozenset[tuple[str, str]]], float]):
    """Samples by name and labels."""

    def __init__(self, text: str) -> None:
        families = text_string_to_metric_families(text)
        for family in families:
            for sample in family.samples:
                self[sample.name, frozenset(sample.labels.items())] = sample.value

    def of(self, name: str, **labels: object) -> float | None:
        return self.get((name, frozenset((k, str(v)) for k, v in labels.items())))


def scrape(prometheus: Client) -> Scrape:
    answer = prometheus.get("/metrics")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain")
    assert "no-store" in answer["Cache-Control"]
    return Scrape(answer.content.decode())


def test_phases_and_the_active_run_are_reported(prometheus: Client, rollout: Rollout) -> None:
    journal.ran(rollout, 0)
    journal.ran(rollout, 1)
    journal.ran(rollout, 2, "running", direction="backward")
    metrics = scrape(prometheus)
    assert metrics.of("rollout_phase", **LABELS) == 2
    for phase, state in ((0, "done"), (2, "running"), (4, "pending")):
        assert metrics.of("rollout_phase_state", **LABELS, phase=phase, state=state) == 1
        assert metrics.of("rollout_phase_state", **LABELS, phase=phase, state="failed") == 0
    run = metrics.of(
        "rollout_active_run_seconds", **LABELS, phase=2, direction="backward", state="running"
    )
    assert run is not None
    assert 0 <= run < 60


def test_processes_and_the_log_are_reported(prometheus: Client, rollout: Rollout) -> None:
    journal.noted(rollout, "phase failed")
    journal.noted(rollout, "phase failed")
    before = scrape(prometheus)
    assert before.of("rollout_processes", kind="worker") == 0
    assert before.of("rollout_last_seen_timestamp_seconds", kind="worker") is None
    journal.processes_run()
    metrics = scrape(prometheus)
    assert metrics.of("rollout_processes", kind="worker") == 1
    assert metrics.of("rollout_last_seen_timestamp_seconds", kind="watchdog") == pytest.approx(
        timezone.now().timestamp(), abs=60
    )
    assert metrics.of("rollout_events_total", **LABELS, event="phase failed") == 2
    assert metrics.of("rollout_queue_messages") == 0
    assert metrics.of("rollout_target_up", environment="production") == 1


def test_a_job_counts_on_when_its_lanes_become_the_journals(
    prometheus: Client, rollout: Rollout
) -> None:
    step = journal.reached(journal.ran(rollout, 2, "running"), "backfill", "running")
    labels = {**LABELS, "phase": 2, "table": "properties", "kind": "fill"}
    journal.ended_job(step, scanned=1000, updated=900, quarantined=2, working_seconds=1.5)
    job = journal.job_of(step)
    with target_of("production").connect() as connection:
        connection.execute(
            "INSERT INTO rollout.lanes (job, lane, schema_name, relation, first_block, end_block,"
            " next_block, range_blocks, range_end, scanned, updated, working_seconds, holder,"
            " lease_until) VALUES (%s, 0, 'public', 'properties', 0, 100, 25, 8, 32, 50, 40, 0.25,"
            " 'a:1', now() + interval '1 minute')",
            [job.pk],
        )
        try:
            metrics = scrape(prometheus)
        finally:
            connection.execute("DELETE FROM rollout.lanes WHERE job = %s", [job.pk])
    assert metrics.of("rollout_backfill_scanned_rows_total", **labels) == 1050
    assert metrics.of("rollout_backfill_updated_rows_total", **labels) == 940
    assert metrics.of("rollout_backfill_working_seconds_total", **labels) == 1.75
    assert metrics.of("rollout_backfill_quarantined_rows", **labels) == 2
    assert metrics.of("rollout_backfill_progress_ratio", **labels) == 0.25
    assert metrics.of("rollout_backfill_workers", **labels) == 1
    job.scanned, job.updated, job.finished_at = 60, 50, timezone.now()
    job.save()
    metrics = scrape(prometheus)
    assert metrics.of("rollout_backfill_scanned_rows_total", **labels) == 1060
    assert metrics.of("rollout_backfill_progress_ratio", **labels) is None


def test_audits_findings_rules_and_snapshots_are_reported(
    prometheus: Client, rollout: Rollout
) -> None:
    journal.audited(rollout, "mismatched", mismatched=5, waived=2, categories={"wrong": 5})
    journal.audited(rollout, "running", categories={"wrong": 1})
    now = timezone.now()
    for key, until in (("1", None), ("2", now + timedelta(days=1)), ("3", now)):
        Finding.objects.create(
            rollout=rollout, table="t", key=key, column="c", category="wrong", waived_until=until
        )
    RuleState.objects.create(
        rollout=rollout,
        rule="slow",
        action="pause",
        verdict="broken",
        since=now,
        judged_at=now,
        acting=True,
    )
    journal.taken(rollout)
    metrics = scrape(prometheus)
    assert metrics.of("rollout_audit_rows", **LABELS, mode="full", category="wrong") == 5
    assert metrics.of("rollout_audit_mismatched_rows", **LABELS, mode="full") == 3
    assert metrics.of("rollout_open_findings", **LABELS, waived="no") == 2
    assert metrics.of("rollout_open_findings", **LABELS, waived="yes") == 1
    assert metrics.of("rollout_rule_broken", **LABELS, rule="slow", action="pause") == 1
    assert metrics.of("rollout_rule_acting", **LABELS, rule="slow", action="pause") == 1
    assert metrics.of("rollout_snapshot_verified_timestamp_seconds", **LABELS)


def test_operations_are_true_histograms_that_survive_thinning(prometheus: Client) -> None:
    first, other = Recorder(), Recorder()
    calls = [0.0004, 0.0015, 0.02, 0.02, 0.3, 60.0]
    for number, seconds in enumerate(calls * 2):
        process = (first, other)[number % 2]
        process.add(
            "search",
            plan=journal.PLAN,
            modes=("legacy", "both"),
            seconds=seconds,
            database_seconds=seconds / 2,
            queries=3,
            failed=seconds > 1,
        )
    first.flush()
    other.flush()
    from rollout.models import Measurement

    assert Measurement.objects.all().delete()[0] == 2
    metrics = scrape(prometheus)
    modes = {"plan": journal.PLAN, "read_mode": "legacy", "write_mode": "both"}
    labels = {"operation": "search", **modes}
    name = "rollout_operation_duration_seconds"
    buckets = sorted(
        (float(dict(key)["le"]), value)
        for (n, key), value in metrics.items()
        if n == f"{name}_bucket"
    )
    assert len(buckets) == len(collector.BOUNDS) + 1
    for bound, count in buckets:
        # Exact wherever a duration does not share its bucket with the bound.
        assert count == 2 * sum(seconds <= bound for seconds in calls)
    assert metrics.of(f"{name}_count", **labels) == 12
    assert metrics.of(f"{name}_sum", **labels) == pytest.approx(2 * sum(calls))
    assert metrics.of("rollout_operation_errors_total", **labels) == 2
    assert metrics.of("rollout_operation_queries_total", **labels) == 36
    assert metrics.of("rollout_operation_database_seconds_total", **labels) == pytest.approx(
        sum(calls)
    )


def test_an_environment_that_is_away_takes_no_other_figure_along(
    prometheus: Client, settings: Any
) -> None:
    from django.db import connections

    usual = connections["default"].settings_dict["NAME"]
    settings.ROLLOUT = {**settings.ROLLOUT, "ENVIRONMENTS": {"production": "default"}}
    journal.processes_run()
    connections["default"].settings_dict["NAME"] = "there is none"
    try:
        metrics = scrape(prometheus)
    finally:
        connections["default"].settings_dict["NAME"] = usual
    assert metrics.of("rollout_target_up", environment="production") == 0
    assert metrics.of("rollout_processes", kind="worker") == 1


def test_the_number_of_journal_queries_does_not_grow_with_the_data(
    prometheus: Client, rollout: Rollout, django_assert_num_queries: Any
) -> None:
    def a_day_of_work() -> None:
        for phase in range(3):
            step = journal.reached(journal.ran(rollout, phase), "backfill")
            journal.ended_job(step)
        for event in ("phase started", "phase done"):
            journal.noted(rollout, event)
        journal.audited(rollout)

    a_day_of_work()
    for _ in range(2):
        with django_assert_num_queries(13):
            scrape(prometheus)
        a_day_of_work()


def test_openmetrics_is_spoken_to_who_asks_for_it(prometheus: Client, rollout: Rollout) -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = prometheus.get("/metrics", headers=accept)
    assert answer["Content-Type"].startswith("application/openmetrics-text")
    families = openmetrics(answer.content.decode())  # type: ignore[no-untyped-call]
    assert "rollout_phase" in {family.name for family in families}


# The documents name nothing that is not there.
