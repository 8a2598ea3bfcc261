"""Repairs from the journal's side: asked for, run by workers, seen by the next audit."""

from typing import Any

import pytest
from django.utils import timezone

from rollout import runner
from rollout.journal import activity_log
from rollout.models import (
    AuditReport,
    AuditStatus,
    BackfillJob,
    Direction,
    LogEntry,
    MappingChange,
    PhaseRun,
    Rollout,
    RunState,
)
from rollout.queries.status import status_of
from rollout.runner import repairs
from rollout.worker import runs
from rollout.worker.leases import Lease
from tests.support import rollouts
from tests.support.damages import TABLE, changed, damage, forget_a_type, newest_report, versions
from tests.support.rollouts import ADA


def repair(rollout: Rollout, table: str = TABLE, **selection: Any) -> PhaseRun:
    """Have rows repaired, and work until they are."""
    run = runner.repair(rollout, table=table, selection=selection, actor=ADA)
    rollouts.work_off(run)
    return run


class TestAPreview:
    def test_a_preview_says_how_many_rows_which_values_and_sql_and_changes_nothing(
        self, filled: Rollout
    ) -> None:
        (key,) = damage("property_type_id = 4711")
        before = versions()
        preview = runner.preview_repair(filled, TABLE, {"categories": ["orphan"]})
        assert (preview.rows, preview.before, preview.refusal) == (1, {"orphan": 1}, "")
        (example,) = preview.examples
        assert (example.key, example.column) == (key, "property_type_id")
        assert example.before == "#4711 (no such row)"
        assert example.after
        lines = preview.sql.partition('UPDATE "public"."properties" AS t\nSET\n')[2].splitlines()
        assert lines[0].startswith('  "property_type_id" = ')
        assert {line[:3] for line in lines[: lines.index("FROM")]} == {'  "'}, "a line each"
        assert versions() == before
        assert not PhaseRun.objects.filter(direction=Direction.REPAIR).exists()

    def test_rows_that_no_mapping_decides_are_refused_with_what_to_do_first(
        self, filled: Rollout
    ) -> None:
        text = forget_a_type()
        damage("property_type_id = NULL", where=f"type = '{text}'")
        preview = runner.preview_repair(filled, TABLE, {"legacy": [text]})
        assert preview.rows == 0
        assert preview.before["unmapped"] >= 1
        assert "Review the mapping" in preview.refusal
        with pytest.raises(runner.Refused, match="Review the mapping"):
            runner.repair(filled, table=TABLE, selection={"legacy": [text]}, actor=ADA)

    def test_rows_that_are_left_are_distinguished_from_those_that_are_repaired(
        self, filled: Rollout
    ) -> None:
        text = forget_a_type()
        damage("currency = 'EUR'", where=f"type IS DISTINCT FROM '{text}'")
        preview = runner.preview_repair(filled, TABLE, {})
        assert preview.refusal == ""
        assert (preview.rows, preview.left) == (1, preview.before["unmapped"])
        assert "Unmapped values" in preview.advice

    def test_a_count_that_takes_too_long_is_left_to_the_repair(
        self, filled: Rollout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        damage("currency = 'EUR'", 2)
        monkeypatch.setattr(repairs, "PREVIEW_SECONDS", 0.2)
        with rollouts.locked("LOCK TABLE properties IN ACCESS EXCLUSIVE MODE"):
            preview = runner.preview_repair(filled, TABLE, {})
            assert "counts them when it starts" in preview.uncounted
            assert preview.sql
            run = runner.repair(filled, table=TABLE, selection={}, actor=ADA)
        rollouts.work()
        run.refresh_from_db()
        assert run.repair.before == {"computed_differs": 2}
        assert (run.repair.rows_expected, run.repair.rows_repaired) == (2, 2)
        assert LogEntry.objects.get(event="repair counted").data["before"] == run.repair.before

    @pytest.mark.parametrize(
        ("table", "selection", "message"),
        [
            ("houses", {}, "The plan backfills no table houses"),
            (TABLE, {"columns": ["price"]}, "The plan fills no column price"),
            (TABLE, {"keys": [["seven"]]}, "Invalid key for properties"),
            (TABLE, {}, "there is nothing to repair"),
        ],
    )
    def test_invalid_selections_are_named(
        self, filled: Rollout, table: str, selection: dict[str, Any], message: str
    ) -> None:
        assert message in runner.preview_repair(filled, table, selection).refusal


class TestARepair:
    def test_found_and_remaining_mismatches_are_in_the_log(self, filled: Rollout) -> None:
        keys = damage("currency = 'EUR'", 3)
        before = versions()
        run = repair(filled, categories=["computed_differs"])
        assert changed(before) == set(keys)
        assert run.phase == 2
        result = run.repair
        assert (result.before, result.after) == ({"computed_differs": 3}, {})
        assert (result.rows_expected, result.rows_repaired) == (3, 3)
        assert {example["before"] for example in result.examples} == {"EUR"}
        started = LogEntry.objects.get(event="repair started")
        assert started.data["before"] == {"computed_differs": 3}
        assert len(started.data["examples"]) == 3
        done = LogEntry.objects.get(event="repair done")
        assert done.data["before"] == {"computed_differs": 3}
        assert done.data["after"] == {}
        assert done.message == (
            "Repaired 3 rows of properties. Before: derived value differs 3. After: none."
        )
        assert {started.actor, done.actor} == {"ada"}
        assert activity_log.verify().broken is None

    def test_a_repair_of_a_named_row_reads_its_block_alone(self, filled: Rollout) -> None:
        (key,) = damage("currency = 'EUR'")
        run = repair(filled, keys=[[key]])
        job = BackfillJob.objects.get(step_run__run=run, kind="repair")
        assert (job.blocks, job.written, run.title) == (1, 1, "Repair of 1 row of properties")

    def test_an_audit_is_made_in_the_name_of_whoever_started_it(self, filled: Rollout) -> None:
        damage("currency = 'EUR'")
        run = repair(filled)
        report = newest_report()
        assert (report.status, report.actor_name) == (AuditStatus.CLEAN, "ada")
        assert run.finished_at is not None
        assert report.started_at >= run.finished_at

    def test_a_repair_leaves_the_states_of_phases_unchanged(self, filled: Rollout) -> None:
        before = status_of(filled)
        damage("currency = 'EUR'")
        run = runner.repair(filled, table=TABLE, selection={}, actor=ADA)
        during = status_of(filled)
        assert during.active == during.repair == run
        assert [phase.state for phase in during.phases] == [phase.state for phase in before.phases]
        assert "ada's repair of 1 row of properties is queued" in during.phases[3].start_refusal
        rollouts.work()
        after = status_of(filled)
        assert (after.active, after.repair) == (None, None)
        assert (after.phase, after.next_phase) == (before.phase, before.next_phase)
        assert after.phases[2].run == before.phases[2].run
        assert after.phases[2].can_roll_back

    def test_everything_that_can_be_is_repaired_in_one_pass_with_one_audit_after_it(
        self, filled: Rollout
    ) -> None:
        together = ", ".join(
            (
                *("property_type_id = NULL", "property_status_id = 4711", "currency = 'EUR'"),
                *("published_at = '2000-01-01'", "is_listed = NOT is_listed"),
            )
        )
        keys = damage(together, 3)
        with rollouts.target() as other, other.transaction():
            other.execute("ALTER TABLE property_images DISABLE TRIGGER USER")
            images = other.execute(
                "UPDATE property_images SET checksum = NULL"
                " WHERE id = (SELECT min(id::text)::uuid FROM property_images)"
            ).rowcount
            other.execute("ALTER TABLE property_images ENABLE TRIGGER USER")
        before, audits = versions(), AuditReport.objects.count()
        preview = runner.preview_repair(filled, "", {})
        cells = {(cell["column"], cell["category"]): cell["rows"] for cell in preview.cells}
        assert preview.rows == 3 + images
        assert cells["property_type_id", "missing"] == 3
        assert cells["property_status_id", "orphan"] == 3
        assert cells["currency", "computed_differs"] == 3
        assert {column for column, _ in cells} >= {"published_at", "is_listed"}
        run = repair(filled, "")
        assert changed(before) == set(keys)
        jobs = BackfillJob.objects.filter(step_run__run=run)
        assert {(job.table, job.kind, job.written) for job in jobs if job.written} == {
            ("properties", "repair", 3),
            *({("property_images", "compute", 1)} if images else set()),
        }
        assert run.repair.rows_repaired == 3 + images
        assert AuditReport.objects.count() == audits + 1
        assert newest_report().status == AuditStatus.CLEAN
        started = LogEntry.objects.get(event="repair started").message
        assert f"a repair of {'every table' if images else 'properties'}" in started
        assert "property_status_id: lookup row not found 3" in started
        assert status_of(filled).repair is None

    def test_keys_without_their_table_select_nothing(self, filled: Rollout) -> None:
        preview = runner.preview_repair(filled, "", {"keys": [["1"]]})
        assert preview.refusal == "Name the table of the keys."

    def test_values_computed_by_a_plans_function_are_computed_again(self, filled: Rollout) -> None:
        selection = {"categories": ["missing"]}
        preview = runner.preview_repair(filled, "property_images", selection)
        assert "there is nothing to repair" in preview.refusal

    def test_a_row_that_the_database_refuses_is_kept_aside_and_the_others_are_repaired(
        self, filled: Rollout
    ) -> None:
        keys = damage("currency = 'EUR'", 3)
        with rollouts.target() as other:
            other.execute(
                "ALTER TABLE properties ADD CONSTRAINT picky CHECK"
                f" (id <> '{keys[1]}') NOT VALID".encode()
            )
        run = repair(filled)
        job = BackfillJob.objects.get(step_run__run=run)
        assert (job.kind, job.updated, job.quarantined) == ("repair", 2, 1)
        assert run.repair.after == {"computed_differs": 1}
        rollouts.execute("ALTER TABLE properties DROP CONSTRAINT picky")
        runner.retry_quarantined(job, actor=ADA)
        rollouts.work()
        assert rollouts.ask("SELECT count(*) FROM properties WHERE currency = 'EUR'") == 0

    def test_a_phase_that_its_audit_stopped_continues_after_it(self, expanded: Rollout) -> None:
        run = runner.start(expanded, 2, actor=ADA)
        audit = runs.RunJob._audit

        def spoiled(self: runs.RunJob, lease: Lease) -> str:
            damage("currency = 'EUR'")
            return audit(self, lease)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runs.RunJob, "_audit", spoiled)
            rollouts.work()
        assert rollouts.state_of(run) == RunState.FAILED
        repair(expanded)
        assert runner.retry(expanded, actor=ADA) == run
        rollouts.work_off(run)


class TestRefusals:
    def test_there_is_nothing_to_repair_before_the_backfill(self, expanded: Rollout) -> None:
        assert "Start phase 2 first" in runner.preview_repair(expanded, TABLE, {}).refusal

    def test_none_is_started_beside_another(self, filled: Rollout) -> None:
        damage("currency = 'EUR'")
        runner.repair(filled, table=TABLE, selection={}, actor=ADA)
        runner.pause(filled, actor=ADA)
        with pytest.raises(
            runner.Refused, match=r"repair of 1 row of properties is paused\. Resume"
        ):
            runner.repair(filled, table=TABLE, selection={}, actor=ADA)

    def test_none_is_started_beside_a_phase(self, filled: Rollout) -> None:
        damage("currency = 'EUR'")
        runner.roll_back(filled, 2, actor=ADA)
        with pytest.raises(runner.Refused, match="rollback of phase 2 is queued"):
            runner.repair(filled, table=TABLE, selection={}, actor=ADA)

    def test_none_is_started_where_a_rollback_stopped_short(self, filled: Rollout) -> None:
        damage("currency = 'EUR'")
        runner.roll_back(filled, 2, actor=ADA)
        runner.cancel(filled, actor=ADA)
        with pytest.raises(runner.Refused, match="The rollback of phase 2 is incomplete"):
            runner.repair(filled, table=TABLE, selection={}, actor=ADA)

    def test_none_is_started_once_the_legacy_text_is_archived(self, contracted: Rollout) -> None:
        with pytest.raises(runner.Refused, match="Roll it back to repair rows"):
            runner.repair(contracted, table=TABLE, selection={}, actor=ADA)


class TestSteering:
    @pytest.fixture
    def under_way(self, filled: Rollout) -> PhaseRun:
        damage("currency = 'EUR'", 3)
        return runner.repair(filled, table=TABLE, selection={}, actor=ADA)

    def test_a_repair_is_paused_and_resumed(self, under_way: PhaseRun) -> None:
        runner.pause(under_way.rollout, actor=ADA)
        rollouts.work_off(under_way, RunState.PAUSED)
        runner.resume(under_way.rollout, actor=ADA)
        rollouts.work_off(under_way)
        assert LogEntry.objects.filter(
            message="Requested a pause of repair of 3 rows of properties."
        ).exists()

    def test_cancelled_it_can_continue(self, under_way: PhaseRun) -> None:
        runner.cancel(under_way.rollout, actor=ADA)
        rollouts.work_off(under_way, RunState.CANCELLED)
        assert status_of(under_way.rollout).repair == under_way
        assert runner.retry(under_way.rollout, actor=ADA) == under_way
        rollouts.work()
        under_way.refresh_from_db()
        assert (under_way.state, under_way.repair.rows_repaired) == (RunState.DONE, 3)

    def test_a_repair_cannot_continue_after_another_phase(self, under_way: PhaseRun) -> None:
        runner.cancel(under_way.rollout, actor=ADA)
        rollouts.lose_the_queue()
        repair(under_way.rollout)
        rollouts.carry_out(under_way.rollout, 3)
        with pytest.raises(runner.Refused, match="nothing to retry"):
            runner.retry(under_way.rollout, run=under_way, actor=ADA)

    def test_a_failed_one_says_what_to_do_next(self, under_way: PhaseRun) -> None:
        rollouts.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE insufficient_privilege; END $$"
        )
        rollouts.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE ON properties FOR EACH STATEMENT"
            " EXECUTE FUNCTION refuse()"
        )
        rollouts.work_off(under_way, RunState.FAILED)
        assert "then retry" in under_way.advice
        assert "roll the phase back" not in under_way.advice
        assert LogEntry.objects.filter(event="repair failed").count() == 1

    def test_a_stopped_phase_and_a_stopped_repair_can_each_be_retried(
        self, filled: Rollout
    ) -> None:
        phase = rollouts.start(filled, 3)
        runner.cancel(filled, actor=ADA)
        damage("currency = 'EUR'")
        stopped = runner.repair(filled, table=TABLE, selection={}, actor=ADA)
        runner.cancel(filled, actor=ADA)
        assert runner.retry(filled, run=phase, actor=ADA) == phase
        runner.cancel(filled, actor=ADA)
        with pytest.raises(runner.Refused, match="nothing to retry"):
            # The phase was at work since.
            runner.retry(filled, run=stopped, actor=ADA)
        assert rollouts.start(filled, 3) == phase


class TestBothDirections:
    def test_the_legacy_text_is_repaired_after_the_cutover(self, enforced: Rollout) -> None:
        keys = damage("type = 'Castle in the air'", 2)
        rows = rollouts.ask("SELECT jsonb_object_agg(id, property_type_id) FROM properties")
        with rollouts.target() as other:
            # The mapping knows the text, as another kind.
            other.execute(
                'INSERT INTO rollout."property-classification_properties_type_mapping"'
                " (legacy, lookup_id, why) SELECT 'Castle in the air', id, 'reviewed'"
                " FROM property_types WHERE NOT EXISTS (SELECT FROM properties"
                "  WHERE id = ANY (%s::uuid[]) AND property_type_id = property_types.id) LIMIT 1",
                [keys],
            )
        before = versions()
        run = repair(enforced, categories=["wrong"])
        assert run.phase == 3
        assert changed(before) == set(keys)
        assert rows == rollouts.ask("SELECT jsonb_object_agg(id, property_type_id) FROM properties")
        assert rollouts.ask(
            "SELECT bool_and(p.type IS NOT DISTINCT FROM nullif(t.name, 'Unspecified'))"
            " FROM properties AS p JOIN property_types AS t ON t.id = p.property_type_id"
            " WHERE p.id = ANY (%s::uuid[])",
            keys,
        )
        assert newest_report().status == AuditStatus.CLEAN

    @pytest.mark.parametrize("phases", [(), (3,)])
    def test_the_rows_of_a_mapping_review_follow_it_either_side_of_the_cutover(
        self, filled: Rollout, phases: tuple[int, ...]
    ) -> None:
        for phase in phases:
            rollouts.carry_out(filled, phase)
        with rollouts.target() as other:
            decided = other.execute(
                'UPDATE rollout."property-classification_properties_type_mapping" AS m'
                " SET lookup_id = (SELECT min(id) FROM property_types WHERE id <> m.lookup_id),"
                " why = 'reviewed' WHERE normal = (SELECT lower(btrim(type)) FROM properties"
                " WHERE type ~ '^[A-Z]' ORDER BY id LIMIT 1) RETURNING legacy, lookup_id"
            ).fetchall()
        texts = [text for text, _ in decided]
        change = MappingChange.objects.create(
            rollout=filled,
            table=TABLE,
            legacy_column="type",
            reviewer="grace",
            at=timezone.now(),
            changes=[
                {"legacy": text, "before": None, "after": None, "rows": 1, "moved": True}
                for text in texts
            ],
        )
        affected = rollouts.ask("SELECT count(*) FROM properties WHERE type = ANY (%s)", texts)
        assert affected > 1
        before = versions()
        assert runner.preview_correction(change).rows == affected
        run = runner.correct(change, actor=ADA)
        rollouts.work_off(run)
        assert len(changed(before)) == affected
        assert affected == rollouts.ask(
            "SELECT count(*) FROM properties WHERE type = ANY (%s) AND property_type_id = %s",
            *(texts, decided[0][1]),
        )
        started = LogEntry.objects.get(event="repair started")
        assert "after grace's review of type" in started.message
