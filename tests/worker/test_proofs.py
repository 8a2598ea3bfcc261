"""What a rollback proves at its end: on its page, in the log, and by its exit status."""

import sys

import pytest
from django.test import Client

from config.home import ROOT
from rollout import runner
from rollout.engine.mapping import Decision
from rollout.models import AuditReport, BackfillJob, LogEntry, PhaseRun, Rollout, RunState
from rollout.plan import plans
from rollout.plan.archives import archive_name
from tests.support import rollouts
from tests.support.damages import damage
from tests.support.processes import Running, completed, wait_until
from tests.support.rollouts import ADA, PLAN
from tests.support.servers import Database

PLANNED = plans.get(PLAN)
TABLE = PLANNED.tables[0]
ARCHIVE = f'rollout."{archive_name(PLANNED, TABLE)}"'


@pytest.fixture
def key() -> str:
    """Of a row that nobody writes."""
    return str(rollouts.ask("SELECT min(id::text) FROM properties"))


def page_of(phase: int) -> str:
    client = Client()
    client.force_login(rollouts.person())
    return client.get(f"/rollout/{PLAN}/production/phases/{phase}/").content.decode()


def newest() -> PhaseRun:
    return PhaseRun.objects.latest("pk")


def test_the_result_stands_on_the_page_and_in_the_log(contracted: Rollout, key: str) -> None:
    rollouts.execute(
        "INSERT INTO property_types (name) VALUES ('Castle');"
        "UPDATE properties SET property_type_id = (SELECT id FROM property_types"
        f" WHERE name = 'Castle') WHERE id = '{key}'"
    )
    run = rollouts.carry_back(contracted, 4)
    proof = (
        "300 rows compared with the archive: 299 not written since are identical to it, 1 written "
        "since matches its new columns; none differs."
    )
    assert proof in run.steps.get(step="drop-legacy").result
    assert proof in page_of(4)
    jobs = BackfillJob.objects.filter(step_run__run=run, kind="proof").order_by("pk")
    assert [job.scanned for job in jobs] == [300, 300]
    (entry,) = LogEntry.objects.filter(event="backfill done", data__job=jobs[1].pk)
    assert entry.message == f"Proof, properties: {proof}"
    rollouts.carry_back(contracted, 3, 2)
    (clear,) = BackfillJob.objects.filter(kind="clear", table="properties")
    (entry,) = LogEntry.objects.filter(event="backfill done", data__job=clear.pk)
    assert (
        "compared type, status, created_at of its rows before and after: unchanged" in entry.message
    )


def test_a_shell_that_waits_is_told_by_the_exit_status_and_the_rows_are_named(
    contracted: Rollout, key: str, committed_db: Database, qcluster: Running
) -> None:
    text = rollouts.ask(f"SELECT type FROM {ARCHIVE} WHERE id = '{key}'")
    rollouts.execute(f"UPDATE {ARCHIVE} SET type = 'tampered' WHERE id = '{key}'")
    done = completed(
        [sys.executable, ROOT / "manage.py", "rollout", "rollback", PLAN, "4", "--wait"],
        env=committed_db.env(),
    )
    assert done.returncode == 1, done.stderr
    assert (
        "1 row of the archive rollout.property-classification_properties_archive differs from"
        " what was archived" in done.stdout
    )
    assert key in done.stdout
    assert key in page_of(4)
    assert LogEntry.objects.filter(event="rollback failed", message__contains=key).exists()
    assert "type" not in rollouts.ask("SELECT to_jsonb(p) FROM properties AS p LIMIT 1")
    with rollouts.target() as opened:
        opened.execute(f"UPDATE {ARCHIVE} SET type = %s WHERE id = %s".encode(), [text, key])
    runner.retry(contracted, actor=ADA)
    wait_until(lambda: not newest().active, seconds=60)
    assert newest().state == RunState.DONE, newest().error
    assert rollouts.ask("SELECT type FROM properties WHERE id = %s", key) == text


def test_rows_that_a_trigger_of_the_table_changes_fail_the_step_until_they_are_brought_back(
    contracted: Rollout, key: str
) -> None:
    before = rollouts.ask("SELECT jsonb_object_agg(id, to_jsonb(p)) FROM properties AS p")
    rollouts.execute(
        "CREATE FUNCTION meddle () RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN new.is_listed := NOT old.is_listed; RETURN new; END$$;"
        "CREATE TRIGGER zz_meddle BEFORE UPDATE ON properties FOR EACH ROW"
        f" WHEN (old.id = '{key}') EXECUTE FUNCTION meddle ()"
    )
    run = runner.roll_back(contracted, 4, actor=ADA)
    rollouts.work_off(run, RunState.FAILED)
    assert f"1 row of properties could not be restored: {key}." in run.error
    rollouts.execute("DROP TRIGGER zz_meddle ON properties")
    runner.retry(contracted, actor=ADA)
    rollouts.work_off(run)
    after = rollouts.ask("SELECT jsonb_object_agg(id, to_jsonb(p)) FROM properties AS p")
    texts = ("type", "status")
    assert {
        row: {name: value for name, value in values.items() if name not in texts}
        for row, values in after.items()
    } == before


def test_a_text_that_changes_behind_the_pass_fails_the_step_and_can_be_repaired(
    contracted: Rollout, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes it: the proof does not ask the pass what it did."""
    from rollout.worker import backfills

    job_of = backfills.job_of

    def tampers_before_the_last_proof(*arguments: object) -> BackfillJob:
        job = job_of(*arguments)  # type: ignore[arg-type]
        if job.kind == "proof" and job.table == "properties" and not tampered:
            tampered.append(rollouts.ask("SELECT type FROM properties WHERE id = %s", key))
            rollouts.execute(
                "SET session_replication_role = replica;"
                f"UPDATE properties SET type = 'tampered' WHERE id = '{key}';"
                "RESET session_replication_role"
            )
        return job

    tampered: list[str] = []
    monkeypatch.setattr(backfills, "job_of", tampers_before_the_last_proof)
    run = runner.roll_back(contracted, 4, actor=ADA)
    rollouts.work_off(run, RunState.FAILED)
    differs = "1 row of properties differs from the archived value, or from the new columns"
    assert differs in run.error
    assert f"{key}: type is 'tampered' instead of '{tampered[0]}'" in run.error
    job = BackfillJob.objects.latest("pk")
    client = Client()
    client.force_login(rollouts.person())
    page = client.get(f"/rollout/jobs/{job.pk}/").content.decode()
    assert "Rows that differ" in page
    # It was written since the job began: compared, but none of those that are counted.
    assert (job.scanned, job.already_right, job.quarantined) == (299, 299, 1)
    assert "Retry quarantined rows" not in page
    with pytest.raises(runner.Refused, match="A proof writes no row"):
        runner.retry_quarantined(job, actor=ADA)
    with rollouts.target() as opened:
        opened.execute("SET session_replication_role = replica")
        opened.execute("UPDATE properties SET type = %s WHERE id = %s", [tampered[0], key])
    runner.retry(contracted, actor=ADA)
    rollouts.work_off(run)


class TestTheRollbackOfTheCutover:
    """The legacy columns lead again: they have to say what the new ones hold."""

    def fails(self, rollout: Rollout) -> PhaseRun:
        run = runner.roll_back(rollout, 3, actor=ADA)
        rollouts.work_off(run, RunState.FAILED)
        return run

    def test_the_result_stands_on_the_page_and_in_the_log(self, enforced: Rollout) -> None:
        rollouts.execute("UPDATE properties SET property_type_id = 1")
        rollouts.execute("UPDATE properties SET property_status_id = 1")
        run = rollouts.carry_back(enforced, 3)
        proof = "300 rows compared: the legacy columns match the new ones; none differs."
        assert proof in run.steps.get(step="cut-over").result
        assert proof in page_of(3)
        assert LogEntry.objects.filter(
            event="backfill done", message=f"Proof, properties: {proof}"
        ).exists()

    def test_rows_that_differ_fail_it_by_the_exit_status_and_a_repair_beside_it_lets_it_end(
        self, enforced: Rollout, committed_db: Database, qcluster: Running
    ) -> None:
        keys = damage("property_type_id = 1 + mod(property_type_id, 3)", 25)
        damage("currency = 'EUR'", where=f"id <> ALL ('{{{','.join(keys)}}}'::uuid[])")
        done = completed(
            [sys.executable, ROOT / "manage.py", "rollout", "rollback", PLAN, "3", "--wait"],
            env=committed_db.env(),
        )
        assert done.returncode == 1, done.stderr
        assert "26 rows of properties differ from what the legacy columns say: " in done.stdout
        first = min(keys)
        assert first in done.stdout
        assert "and 6 more" in done.stdout
        rollback = newest()
        assert first in page_of(3)
        assert "Start full audit" in page_of(3)
        assert LogEntry.objects.filter(event="rollback failed", message__contains=first).exists()
        report = runner.start_audit(enforced, actor=ADA)
        wait_until(lambda: AuditReport.objects.get(pk=report.pk).status == "mismatched", seconds=60)
        runner.repair(enforced, selection={}, actor=ADA)
        wait_until(lambda: not newest().active, seconds=60)
        assert newest().state == RunState.DONE, newest().error
        assert newest().repair.rows_repaired == 26
        runner.retry(enforced, run=rollback, actor=ADA)
        wait_until(lambda: not PhaseRun.objects.get(pk=rollback.pk).active, seconds=60)
        rollback.refresh_from_db()
        assert rollback.state == RunState.DONE, rollback.error

    def test_rows_repaired_by_hand_are_compared_again_by_a_retry(self, enforced: Rollout) -> None:
        (key,) = damage("type = 'tampered'")
        run = self.fails(enforced)
        assert f"{key}: type 'tampered' is not mapped. The application reads" in run.error
        job = BackfillJob.objects.get(kind="proof", step_run__run=run)
        assert (job.scanned, job.quarantined) == (300, 1)
        text = rollouts.ask(
            "SELECT name FROM property_types t JOIN properties p ON p.property_type_id = t.id"
            " WHERE p.id = %s",
            key,
        )
        runner.retry(enforced, actor=ADA)
        rollouts.work()
        run.refresh_from_db()
        assert run.state == RunState.FAILED, "it compares again, and nothing was put right"
        damage(f"type = '{text}'", where=f"id = '{key}'")
        runner.retry(enforced, actor=ADA)
        rollouts.work_off(run)

    def test_a_text_that_is_not_mapped_can_be_decided_beside_it(self, enforced: Rollout) -> None:
        (key,) = damage("type = 'Yurt'")
        run = self.fails(enforced)
        lookup = PLANNED.lookups_of(TABLE)[0]
        change = runner.review_mapping(enforced, lookup, {"yurt": Decision("House")}, actor=ADA)
        if change.moves_rows:
            runner.correct(change, actor=ADA)
            rollouts.work()
        runner.retry(enforced, run=run, actor=ADA)
        rollouts.work_off(run)
        assert (
            rollouts.ask(
                "SELECT t.name FROM property_types t JOIN properties p ON p.property_type_id = t.id"
                " WHERE p.id = %s",
                key,
            )
            == "House"
        )

    def test_a_lookup_row_whose_name_was_decided_away_is_named_and_people_say_which_it_is(
        self, filled: Rollout, key: str
    ) -> None:
        """No text means such a row: nothing else could tell, once the text leads again."""
        lookup = PLANNED.lookups_of(TABLE)[0]

        def decide(name: str) -> None:
            change = runner.review_mapping(filled, lookup, {"apt": Decision(name)}, actor=ADA)
            runner.correct(change, actor=ADA)
            rollouts.work()

        decide("Apartment")
        rollouts.carry_out(filled, 3, 4)
        rollouts.execute(
            "UPDATE properties SET property_type_id = (SELECT id FROM property_types"
            f" WHERE name = 'Apt') WHERE id = '{key}'"
        )
        rollouts.carry_back(filled, 4)
        row = (
            "SELECT p.type || ', ' || t.name FROM properties AS p"
            " JOIN property_types AS t ON t.id = p.property_type_id WHERE p.id = %s"
        )
        assert rollouts.ask(row, key) == "Apt, Apt", "the row has what it had, and its name"
        run = self.fails(filled)
        assert (
            f"1 row of properties differs from what the legacy columns say: {key}. {key}: type "
            "'Apt' means 'Apartment', property_type_id is 'Apt'."
        ) in run.error
        assert "decide in the mapping review which one is right" in run.error
        decide("Apt")
        runner.retry(filled, run=run, actor=ADA)
        rollouts.work_off(run)
        assert rollouts.ask(row, key) == "Apt, Apt"
