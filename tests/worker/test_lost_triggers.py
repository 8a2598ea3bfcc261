"""A dual-write trigger that somebody drops or disables while its phase is open is named and made
again; the schema that somebody drops behind the engine's back is named everywhere."""

from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from rollout import gates, runner
from rollout.gates import cached_queries
from rollout.models import AuditReport, BackfillJob, LogEntry, PhaseRun, Rollout
from rollout.plan import plans
from rollout.queries.preflights import preflight_of
from rollout.queries.progress import progress_of
from rollout.queries.schema_diffs import schema_of
from rollout.queries.status import status_of
from rollout.worker import backfills
from tests.console import journal
from tests.support import rollouts
from tests.support.rollouts import ADA

LOSE = {
    "dropped": 'DROP TRIGGER "{}" ON properties',
    "disabled": 'ALTER TABLE properties DISABLE TRIGGER "{}"',
}
FOUND = {"dropped": "found no trigger", "disabled": "disabled"}


def name_of_trigger() -> str:
    return str(
        rollouts.ask(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = 'properties'::regclass"
            " AND tgname LIKE 'rollout%%insert' ORDER BY 1 LIMIT 1"
        )
    )


@pytest.fixture
def stopped(expanded: Rollout) -> PhaseRun:
    """Phase 2, which failed in its backfill: a trigger of somebody else's refused every row."""
    with rollouts.target() as connection:
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE 'not today'; END $$;"
            "CREATE TRIGGER zz_refuse BEFORE UPDATE ON properties"
            " FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
    run = rollouts.start(expanded, 2)
    rollouts.work()
    run.refresh_from_db()
    assert run.state == "failed"
    with rollouts.target() as connection:
        connection.execute("DROP FUNCTION refuse CASCADE")
    return run


def write_without_it(rollout: Rollout) -> None:
    """What the application writes meanwhile: a text that no mapping has yet."""
    with rollouts.target() as connection:
        connection.execute(
            "INSERT INTO properties SELECT (p).* FROM (SELECT jsonb_populate_record(x,"
            " jsonb_build_object('id', gen_random_uuid(), 'type', 'Houseboat')) AS p"
            " FROM (SELECT x FROM properties AS x LIMIT 1) AS one) AS made"
        )


def is_in_step(rollout: Rollout) -> bool:
    audit = runner.start_audit(rollout, actor=ADA)
    rollouts.work()
    return AuditReport.objects.get(pk=audit.pk).status == "clean"


@pytest.mark.parametrize("how", LOSE)
def test_a_phase_that_stopped_names_the_trigger_it_lost_and_its_retry_makes_it(
    stopped: PhaseRun, how: str
) -> None:
    rollout, trigger = stopped.rollout, name_of_trigger()
    assert schema_of(rollout).drifts == []
    with rollouts.target() as connection:
        connection.execute(LOSE[how].format(trigger).encode())
    write_without_it(rollout)
    (drift,) = schema_of(rollout).drifts
    assert f"trigger {trigger}" in str(drift)
    assert FOUND[how] in str(drift)
    preflight = preflight_of(rollout, 2)
    assert any(trigger in item.evidence for item in preflight.of("warns"))
    runner.retry(rollout, actor=ADA)
    rollouts.work()
    stopped.refresh_from_db()
    assert stopped.state == "done", stopped.error
    assert schema_of(rollout).drifts == []
    assert is_in_step(rollout)


@pytest.mark.parametrize("how", LOSE)
def test_a_phase_at_work_stops_at_a_trigger_that_it_loses_and_says_what_to_do(
    stopped: PhaseRun, how: str
) -> None:
    rollout, trigger = stopped.rollout, name_of_trigger()
    runner.retry(rollout, actor=ADA)
    with rollouts.target() as connection:
        connection.execute(LOSE[how].format(trigger).encode())
    write_without_it(rollout)
    rollouts.work()
    stopped.refresh_from_db()
    assert stopped.state == "failed"
    assert f"trigger {trigger}" in stopped.error
    assert stopped.advice == (
        "Retry: that recreates it and processes the rows again. "
        "Runbook: A trigger, or the schema rollout, was dropped."
    )
    runner.retry(rollout, actor=ADA)
    rollouts.work()
    stopped.refresh_from_db()
    assert stopped.state == "done", stopped.error
    assert is_in_step(rollout)


def test_a_backfill_that_is_done_again_tells_of_all_its_passes_and_counts_each_row_once(
    expanded: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trigger goes after the first job has come to its end: the retry starts it again."""
    carry_on = backfills.run_job

    def loses_it_after_the_fill(*arguments: Any, **more: Any) -> str | None:
        result = carry_on(*arguments, **more)
        if result is not None and not lost:
            lost.append(name_of_trigger())
            rollouts.execute(LOSE["dropped"].format(lost[0]))
            write_without_it(expanded)
            rollouts.execute("UPDATE properties SET price = 1 WHERE bedrooms > 2")
        return result

    lost: list[str] = []
    monkeypatch.setattr(backfills, "run_job", loses_it_after_the_fill)
    run = rollouts.start(expanded, 2)
    rollouts.work()
    run.refresh_from_db()
    assert f"trigger {lost[0]}" in run.error
    job = BackfillJob.objects.get(kind="fill")
    assert progress_of(job).scanned == 300
    runner.retry(expanded, actor=ADA)
    rollouts.work()
    run.refresh_from_db()
    assert run.state == "done", run.error
    job.refresh_from_db()
    assert (job.scanned, job.updated, job.already_right, job.rewritten) == (300, 300, 0, 1)
    assert job.rounds == 2
    newest = LogEntry.objects.filter(event="backfill done", data__job=job.pk).latest("pk")
    assert newest.data["scanned"] == 300
    counts = "300 rows scanned, 300 updated, 1 updated that the"
    assert counts in newest.message
    assert is_in_step(expanded)


def test_a_schema_that_was_dropped_is_drift_on_every_page_and_in_every_shell(
    filled: Rollout, capsys: pytest.CaptureFixture[str]
) -> None:
    with rollouts.target() as connection:
        connection.execute("DROP SCHEMA rollout CASCADE")
    cached_queries.invalidate()
    assert "schema rollout" in str(schema_of(filled).drifts[0])
    drift = next(gate for gate in status_of(filled).phases[3].gates if gate.name == "no drift")
    assert drift.status == "fail"
    assert "none (dropped). Restore it from a backup" in drift.message
    for arguments in (["introspect", filled.plan], ["show", filled.plan]):
        with pytest.raises(SystemExit):
            call_command("rollout", *arguments)
        assert "schema rollout: expected" in capsys.readouterr().out
    browser: Client = journal.browser_of("lead")
    job = filled.runs.get(phase=2).steps.get(step="backfill").jobs.first()
    assert job is not None
    for page in (journal.PAGE, f"{journal.PAGE}schema/"):
        assert "schema rollout" in journal.text_of(browser, page)
    shown = journal.text_of(browser, f"/rollout/jobs/{job.pk}/")
    assert "The database differs from the plan" in shown
    assert f"{job.scanned:,}" in shown


def test_a_schema_that_was_dropped_in_phase_2_comes_back_by_a_rollback_to_phase_1(
    filled: Rollout,
) -> None:
    with rollouts.target() as connection:
        connection.execute("DROP SCHEMA rollout CASCADE")
    rollouts.carry_back(filled, 2)
    rollouts.carry_out(filled, 2)
    assert schema_of(filled).drifts == []
    assert gates.is_done(gates.newest_runs(filled)[2])
    assert plans.get(filled.plan).name == filled.plan
    assert is_in_step(filled)
