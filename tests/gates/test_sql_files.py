"""Steps written as SQL files in the journal: applied once, and refused when edited afterwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rollout.plan import Plan, SqlFiles, plans
from tests.engine.sample_plans import with_phases
from tests.plan.test_sql_files import ASKED
from tests.support.servers import Database

if TYPE_CHECKING:
    from rollout.models import Rollout

UP = """\
-- rollout: phase: 1
-- rollout: locks: none
-- rollout: done: to_regclass('public.notes') IS NOT NULL
CREATE TABLE notes (text text);

-- rollout: long
-- rollout: locks: SHARE UPDATE EXCLUSIVE notes
-- rollout: done: EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('public.notes_text')
-- rollout: done:   AND indisvalid)
CREATE INDEX CONCURRENTLY notes_text ON notes (text);
"""
DOWN = """\
-- rollout: locks: ACCESS EXCLUSIVE notes
-- rollout: done: to_regclass('public.notes') IS NULL
DROP TABLE notes;
"""


class Files:
    """A plan whose phase 1 is a directory of files."""

    def __init__(self, directory: Path, plan: Plan) -> None:
        self.directory = directory
        self.tiny = plan

    def write(self, *, up: str = UP, down: str = DOWN) -> None:
        (self.directory / "010_notes.up.sql").write_text(up)
        (self.directory / "010_notes.down.sql").write_text(down)
        prepare, phase, *later = self.tiny.phases
        phase = replace(phase, steps=SqlFiles(self.directory).of_phase(1))
        plan = with_phases(replace(self.tiny, name="files"), [prepare, phase, *later])
        plans._plans[:] = [*(p for p in plans if p.name != "files"), plan]


@pytest.fixture
def files(committed_db: Database, own_plans: None, tmp_path: Path) -> Files:
    from tests.support import rollouts

    made = Files(tmp_path, rollouts.TINY)
    made.write()
    return made


@pytest.fixture
def of_files(files: Files) -> Rollout:
    from tests.support import rollouts

    return rollouts.the_rollout("files")


def refused(act: object) -> str:
    from rollout import runner

    with pytest.raises(runner.Refused) as refusal:
        act()  # type: ignore[operator]
    return str(refusal.value)


def test_a_file_is_applied_journaled_by_its_checksum_and_undone(
    files: Files, of_files: Rollout
) -> None:
    from rollout.models import StepRun
    from tests.support import rollouts

    run = rollouts.carry_out(of_files, 0, 1)
    step = StepRun.objects.get(run=run)
    assert (step.step, step.result) == ("notes", "Applied.")
    assert step.checksum == SqlFiles(files.directory).steps[0].checksum
    assert rollouts.ask("SELECT indisvalid FROM pg_index WHERE indexrelid = 'notes_text'::regclass")
    rollouts.carry_back(of_files, 1)
    assert rollouts.ask("SELECT to_regclass('public.notes')") is None
    # Once undone it may be edited and applied again.
    files.write(up=UP.replace("text text", "text text, more text"))
    rollouts.carry_out(of_files, 1)
    assert rollouts.ask("SELECT count(*) FROM notes WHERE more = 'x'") == 0


def test_a_file_that_was_edited_after_it_was_applied_stops_everything_until_it_is_accepted(
    files: Files, of_files: Rollout
) -> None:
    from rollout import runner
    from rollout.models import LogEntry
    from rollout.queries.status import status_of
    from tests.support import rollouts

    assert "No edited SQL files" in refused(
        lambda: runner.accept_files(of_files, actor=rollouts.ADA)
    )
    rollouts.carry_out(of_files, 0, 1)
    files.write(down=f"{ASKED}SELECT 1;")
    reason = "The SQL files of notes of phase 1 were edited after they were applied."
    assert reason in refused(lambda: runner.start(of_files, 2, actor=rollouts.ADA))
    assert reason in refused(lambda: runner.roll_back(of_files, 1, actor=rollouts.ADA))
    gates = {gate.name: gate.status for gate in status_of(of_files).phases[2].gates}
    assert gates["SQL files unchanged"] == "fail"
    files.write()
    assert status_of(of_files).phases[2].can_start
    files.write(down=DOWN + "-- The table alone.\n")
    (step,) = runner.accept_files(of_files, actor=rollouts.ADA)
    assert step.checksum == SqlFiles(files.directory).steps[0].checksum
    entry = LogEntry.objects.latest("pk")
    assert (entry.event, entry.actor, entry.data["now"]) == (
        "edited file accepted",
        "ada",
        step.checksum,
    )
    rollouts.carry_out(of_files, 2)
    rollouts.carry_back(of_files, 2, 1)
    assert rollouts.ask("SELECT to_regclass('public.notes')") is None


def test_a_file_that_failed_may_be_corrected_and_continues_where_it_stopped(
    files: Files, of_files: Rollout
) -> None:
    from rollout import runner
    from rollout.models import RunState
    from tests.support import rollouts

    files.write(up=UP.replace("ON notes (text)", "ON notes (txt)"))
    rollouts.carry_out(of_files, 0)
    run = runner.start(of_files, 1, actor=rollouts.ADA)
    rollouts.work_off(run, RunState.FAILED)
    assert 'column "txt" does not exist' in run.error
    assert rollouts.ask("SELECT count(*) FROM notes") == 0
    files.write()
    runner.retry(of_files, actor=rollouts.ADA)
    rollouts.work_off(run)
    assert run.steps.get().result == "Applied; part of it was applied before."
