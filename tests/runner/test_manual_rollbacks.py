"""The script that `rollout sql PHASE --rollback` prints, run by psql as it is."""

import subprocess
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone

from rollout import runner
from rollout.journal.environments import target_of
from rollout.models import LogEntry, PhaseRun, Rollout, RunState
from rollout.plan.psql_scripts import rollback_script
from rollout.queries.status import status_of
from tests.engine.actions import do_phase
from tests.engine.samples import REQUIRED
from tests.engine.test_every_phase import schema_lines
from tests.support import rollouts
from tests.support.rollback_scripts import carry_out, everything, printed, psql, stop_after
from tests.support.rollouts import ADA
from tests.support.servers import Database, filled_template

if TYPE_CHECKING:
    from pytest_django.plugin import DjangoDbBlocker


@pytest.fixture
def phase() -> int:
    """The first, unless a test names another."""
    return 1


@pytest.fixture
def beginning(phase: int, template: str, django_db_blocker: "DjangoDbBlocker") -> str:
    """Sixty listings and one with an odd text, carried up to a phase."""
    with django_db_blocker.unblock():
        return rollouts.template_after(filled_template("odd", template, _load), phases=phase)


def _load() -> None:
    rollouts.load_listings(60)
    rollouts.execute(
        "UPDATE properties SET type = E' it''s \\\\ $sql$ \\u00e9 ' WHERE id ="
        " (SELECT min(id::text)::uuid FROM properties)"
    )


@pytest.fixture
def reached(committed_db: Database) -> Rollout:
    """The rollout before the phase: all earlier ones are done."""
    return rollouts.the_rollout()


@pytest.fixture
def allowed(reached: Rollout, phase: int) -> Rollout:
    """The rollout whose gates let the phase through."""
    rollouts.prepare(reached, phase)
    return reached


def start_and_die(rollout: Rollout, phase: int) -> PhaseRun:
    run = rollouts.start(rollout, phase)
    with pytest.raises(SystemExit):
        rollouts.work()
    PhaseRun.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    rollouts.lose_the_queue()
    return run


def go_through_it_again(rollout: Rollout, phase: int) -> None:
    if phase > 2:
        with pytest.raises(runner.Refused, match="Audit clean"):
            runner.start(rollout, phase, actor=ADA)
        runner.start_audit(rollout, actor=ADA)
        rollouts.work()
    rollouts.carry_out(rollout, phase)


@pytest.mark.parametrize("phase", [1, 2, 3, 4])
def test_after_a_phase_its_script_brings_everything_back_and_the_console_recognises_it(
    phase: int, allowed: Rollout, committed_db: Database, tmp_path: Path
) -> None:
    before = everything(committed_db)
    rollouts.carry_out(allowed, phase)
    assert everything(committed_db) != before
    script = printed(phase)
    code, output = carry_out(script, committed_db, tmp_path)
    assert code == 0, output
    assert everything(committed_db) == before
    assert carry_out(script, committed_db, tmp_path)[0] == 0, "it may be run again"
    assert everything(committed_db) == before
    (run,) = runner.recognise(allowed, phase, actor=ADA)
    assert (run.phase, run.direction, run.state) == (phase, "backward", RunState.DONE)
    assert status_of(allowed).phases[phase].state == "pending"
    assert LogEntry.objects.filter(event="rolled back by hand", phase=phase).count() == 1
    go_through_it_again(allowed, phase)


HALF_WAY = [(1, 3), (2, 2), (2, 5), (3, 3), (4, 1), (4, 2), (4, 4), (4, 8)]


@pytest.mark.parametrize(("phase", "steps"), HALF_WAY)
def test_half_way_through_a_phase_its_script_brings_everything_back(
    phase: int,
    steps: int,
    allowed: Rollout,
    committed_db: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = everything(committed_db)
    with monkeypatch.context() as killing:
        stop_after(steps, killing)
        run = start_and_die(allowed, phase)
    assert everything(committed_db) != before
    code, output = carry_out(printed(phase), committed_db, tmp_path)
    assert code == 0, output
    assert everything(committed_db) == before
    assert [run.phase for run in runner.recognise(allowed, phase, actor=ADA)] == [phase]
    run.refresh_from_db()
    assert run.state == RunState.CANCELLED
    go_through_it_again(allowed, phase)


def test_four_scripts_one_after_the_other_bring_everything_back_and_are_recognised_at_once(
    allowed: Rollout, committed_db: Database, tmp_path: Path
) -> None:
    before = everything(committed_db)
    rollouts.carry_out(allowed, 1, 2, 3, 4)
    for phase in (4, 3, 2, 1):
        code, output = carry_out(printed(phase), committed_db, tmp_path)
        assert code == 0, output
    assert everything(committed_db) == before
    assert [run.phase for run in runner.recognise(allowed, 1, actor=ADA)] == [4, 3, 2, 1]
    compared = "The console compared no rows"
    entries = LogEntry.objects.filter(event="rolled back by hand", message__contains=compared)
    assert {entry.phase for entry in entries} == {3, 4}


@pytest.mark.parametrize("phase", [2])
def test_a_phase_that_was_run_by_hand_is_resumed_by_the_console(
    phase: int, allowed: Rollout, committed_db: Database, tmp_path: Path
) -> None:
    script = printed(2, rollback=False)
    code, output = carry_out(script, committed_db, tmp_path)
    assert (code, "left to the console: full audit" in output) == (0, True), output
    lead = rollouts.person("ada")
    with pytest.raises(runner.Refused, match="No schema drift"):
        runner.start(allowed, phase, actor=lead)
    runner.override(allowed, phase, "no drift", reason="It was carried out by hand.", actor=lead)
    run = rollouts.carry_out(allowed, phase)
    results = dict(run.steps.values_list("step", "result"))
    assert results["dual-write"] == results["write-both"] == "Already applied."
    assert "0 mismatches" in results["audit"]
    assert status_of(allowed).phases[phase].state == "done"


@pytest.mark.parametrize("phase", [4])
def test_an_older_phase_is_not_taken_back_under_a_newer_one(
    committed_db: Database, tmp_path: Path
) -> None:
    before = everything(committed_db)
    code, output = carry_out(printed(2), committed_db, tmp_path)
    assert code == 3
    assert "Phase 3 has begun" in output
    assert everything(committed_db) == before


@pytest.mark.parametrize("phase", [2])
def test_nothing_is_changed_while_a_worker_is_connected(
    committed_db: Database, tmp_path: Path
) -> None:
    before = everything(committed_db)
    with rollouts.target():
        code, output = carry_out(printed(1), committed_db, tmp_path)
    assert (code, everything(committed_db)) == (3, before)
    assert "Stop its workers" in output


def test_a_lock_that_is_held_is_tried_again_until_it_is_let_go(
    allowed: Rollout, committed_db: Database, tmp_path: Path
) -> None:
    before = everything(committed_db)
    rollouts.carry_out(allowed, 1)
    script = printed(1)
    file = tmp_path / "rollback.sql"
    file.write_text(script)
    with rollouts.target() as holder:
        holder.execute("SET application_name = 'a report'")
        holder.execute("BEGIN; SELECT FROM properties")
        process = subprocess.Popen(
            [psql(), "-X", "-f", file, committed_db.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout
        output = ""
        for line in process.stdout:
            output += line
            if "attempt 2 of 30" in line:
                assert f"pid {holder.info.backend_pid} (a report" in line
                holder.execute("COMMIT")
    assert process.wait(60) == 0, output
    assert everything(committed_db) == before


@pytest.mark.parametrize("phase", [2])
def test_a_rollback_that_was_not_run_is_not_recognised(reached: Rollout) -> None:
    with pytest.raises(runner.Refused, match="Phase 1 is not fully rolled back: "):
        runner.recognise(reached, 1, actor=ADA)
    assert status_of(reached).phases[1].state == "done"


@pytest.mark.parametrize("phase", [4])
def test_a_cutover_that_was_taken_back_by_hand_is_recognised_once_its_rows_say_the_same(
    reached: Rollout, committed_db: Database, tmp_path: Path
) -> None:
    """It is found here again by those who continue by hand past the script's own comparison."""
    assert carry_out(printed(3), committed_db, tmp_path)[0] == 0
    key = rollouts.ask("SELECT min(id::text) FROM properties WHERE type = 'House'")
    with rollouts.target() as around_the_triggers:
        around_the_triggers.execute("SET session_replication_role = replica")
        write = "UPDATE properties SET type = %s WHERE id = %s"
        around_the_triggers.execute(write, ["Condo", key])
    with pytest.raises(runner.Refused) as refused:
        runner.recognise(reached, 3, actor=ADA)
    assert (
        "Phase 3 is not fully rolled back: 1 row of properties differs from what the legacy "
        f"columns say (correct it): {key}: type 'Condo' means 'Condo', property_type_id is 'House'."
    ) in str(refused.value)
    assert str(refused.value).endswith("--rollback. It compares every row again.")
    rollouts.execute(f"UPDATE properties SET type = 'House' WHERE id = '{key}'")
    runner.recognise(reached, 3, actor=ADA)
    (entry,) = LogEntry.objects.filter(event="rolled back by hand")
    assert "Every row was compared: the legacy columns match the new ones." in entry.message


def test_nothing_is_recognised_while_a_worker_may_be_at_work(
    allowed: Rollout, committed_db: Database
) -> None:
    rollouts.start(allowed, 1)
    with pytest.raises(runner.Refused, match="A worker is still active"):
        runner.recognise(allowed, 1, actor=ADA)


def test_a_legacy_column_that_was_not_null_is_so_again(
    committed_db: Database, tmp_path: Path
) -> None:
    """On servers before PostgreSQL 18 by other statements than on newer ones."""
    sample, target = REQUIRED, target_of("production")
    with target.connect() as connection:
        sample.create(connection)
        for number, kind in enumerate(("House", " house", "", "FLAT")):
            sample.insert(connection, number, kind=kind, state="")
        schema, texts = schema_lines(committed_db.url), sample.texts(connection)
        for number in range(5):
            do_phase(target, connection, sample.plan, number)
    for number in (4, 3, 2, 1):
        script = rollback_script(sample.plan, number)
        status, output = carry_out(script, committed_db, tmp_path)
        assert status == 0, output
    with target.connect() as connection:
        assert sample.texts(connection) == texts
    assert schema_lines(committed_db.url) == schema


class TestWhatTheScriptProves:
    """The script ends with the console's own proof, and not with 0 where a row differs."""

    ARCHIVE = 'rollout."property-classification_properties_archive"'

    @pytest.fixture
    def phase(self) -> int:
        return 5

    @pytest.fixture
    def first_key(self, reached: Rollout) -> str:
        return str(rollouts.ask("SELECT min(id::text) FROM properties"))

    def test_the_script_says_how_many_rows_were_compared(
        self, first_key: str, committed_db: Database, tmp_path: Path
    ) -> None:
        code, output = carry_out(printed(4), committed_db, tmp_path)
        assert code == 0, output
        assert "60 rows compared: 60 to the letter, 0 by their new columns; none differs" in output

    def test_a_row_of_the_archive_that_somebody_changed_stops_it_and_is_named(
        self, first_key: str, committed_db: Database, tmp_path: Path
    ) -> None:
        before = everything(committed_db)
        rollouts.execute(f"UPDATE {self.ARCHIVE} SET type = 'tampered' WHERE id = '{first_key}'")
        code, output = carry_out(printed(4), committed_db, tmp_path)
        assert code == 3
        assert f"{first_key}: the archive has another text or lookup row" in output
        assert everything(committed_db)["properties"] == before["properties"]

    def test_a_row_that_the_archive_lost_stops_it(
        self, first_key: str, committed_db: Database, tmp_path: Path
    ) -> None:
        rollouts.execute(f"DELETE FROM {self.ARCHIVE} WHERE id = '{first_key}'")
        code, output = carry_out(printed(4), committed_db, tmp_path)
        assert code == 3
        assert "had 60 rows and has 59 rows, or other ones" in output

    def test_a_row_that_a_trigger_of_the_table_changes_stops_it_and_is_named(
        self, first_key: str, committed_db: Database, tmp_path: Path
    ) -> None:
        rollouts.execute(
            "CREATE FUNCTION meddle () RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN new.is_listed := NOT old.is_listed; RETURN new; END$$;"
            "CREATE TRIGGER zz_meddle BEFORE UPDATE ON properties FOR EACH ROW"
            f" WHEN (old.id = '{first_key}') EXECUTE FUNCTION meddle ()"
        )
        script = printed(4)
        code, output = carry_out(script, committed_db, tmp_path)
        assert code == 3
        assert f"changes more than was written, of rows: {first_key}." in output
        rollouts.execute("DROP TRIGGER zz_meddle ON properties")
        assert carry_out(script, committed_db, tmp_path)[0] == 0


class TestWhatTheScriptOfTheCutoverProves:
    @pytest.fixture
    def phase(self) -> int:
        return 3

    def test_a_row_whose_text_means_another_row_stops_it_until_it_is_repaired(
        self, allowed: Rollout, committed_db: Database, tmp_path: Path
    ) -> None:
        before = everything(committed_db)
        rollouts.carry_out(allowed, 3)
        row = "id = (SELECT min(id::text)::uuid FROM properties)"
        wrong, right = (
            "SET session_replication_role = replica; UPDATE properties SET property_type_id ="
            f" property_type_id {sign} 1 WHERE {row}; RESET session_replication_role"
            for sign in "+-"
        )
        rollouts.execute(wrong)
        script = printed(3)
        for _ in range(2):
            code, output = carry_out(script, committed_db, tmp_path)
            assert code == 3, output
            assert "1 rows of properties differ from what the legacy columns say" in output
        rollouts.execute(right)
        code, output = carry_out(script, committed_db, tmp_path)
        assert code == 0, output
        assert "60 rows compared: the legacy columns say what the new ones hold" in output
        assert everything(committed_db) == before
