"""Steps that are written as SQL files: what is read from them, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from rollout.checks.plans import check_plan
from rollout.plan import Phase, Plan, SqlFile, SqlFiles
from rollout.plan.actions import Lock, LockMode, Statement
from rollout.plan.sql_effects import is_destructive, is_restrictive
from tests.engine.sample_plans import with_phases, with_step
from tests.engine.samples import BIGINT

HEAD = "-- rollout: phase: 1\n"
ASKED = "-- rollout: locks: none\n-- rollout: done: true\n"
NOTES = """\
-- A comment of people's own.
-- rollout: id: notes
-- rollout: description: Make a table of notes; it's new
-- rollout: phase: 1
-- rollout: changes-write-path
-- rollout: locks: none
-- rollout: done: to_regclass('public.notes')
-- rollout: done:   IS NOT NULL
CREATE TABLE notes (id bigint PRIMARY KEY, text text NOT NULL DEFAULT '100 % {sure} %s; -- no');
-- The other half.
INSERT INTO notes VALUES (1);

-- rollout: long
-- rollout: locks: SHARE UPDATE EXCLUSIVE notes; ROW SHARE Sales.Order
-- rollout: scans: 2
-- rollout: servers: 14-17
-- rollout: repeatable
CREATE INDEX CONCURRENTLY IF NOT EXISTS notes_text ON notes (text);
"""
NO_NOTES = f"{ASKED}DROP TABLE notes;\n"


def written(directory: Path, **files: str) -> SqlFiles:
    """Files by name, ``_up`` and ``_down`` standing for ``.up.sql`` and ``.down.sql``."""
    for name, text in files.items():
        stem, _, direction = name.removeprefix("f").rpartition("_")
        (directory / f"{stem}.{direction}.sql").write_text(text)
    return SqlFiles(directory)


def plan_with(files: SqlFiles) -> Plan:
    return with_phases(
        BIGINT.plan,
        (
            replace(phase, steps=(*phase.steps, *files.of_phase(number)))
            for number, phase in enumerate(BIGINT.plan.phases)
        ),
    )


def problems(files: SqlFiles) -> list[tuple[str | None, str]]:
    return [(problem.id, str(problem.msg)) for problem in check_plan(plan_with(files))]


def test_a_file_is_a_step_with_the_statements_that_its_comments_describe(tmp_path: Path) -> None:
    files = written(tmp_path, f010_notes_up=NOTES, f010_notes_down=NO_NOTES)
    (step,) = files.of_phase(1)
    assert (step.id, step.description) == ("notes", "Make a table of notes; it's new")
    assert (step.phases, step.destructive, step.changes_write_path) == (frozenset({1}), False, True)
    create, index = step.ups
    assert create.done is not None
    assert create.done.as_string() == "(to_regclass('public.notes')\nIS NOT NULL)"
    assert create.text.startswith("CREATE TABLE notes")
    assert create.text.endswith("INSERT INTO notes VALUES (1)")
    assert (create.long, create.locks) == (False, ())
    assert (index.done, index.long, index.scans, index.servers) == (None, True, 2, (14, 18))
    assert index.locks == (
        Lock(LockMode.SHARE_UPDATE_EXCLUSIVE, "notes"),
        Lock(LockMode.ROW_SHARE, "Sales.Order"),
    )
    assert step.backward(BIGINT.plan) == step.downs
    assert problems(files) == []


def test_a_name_says_what_a_file_does_not_and_numbers_give_the_order(tmp_path: Path) -> None:
    text = f"{HEAD}{ASKED}SELECT 1;\n"
    files = written(tmp_path, f020_after_that_up=text, f010_add_the_notes_up=text)
    first, second = files.of_phase(1)
    assert (first.id, first.description) == ("add-the-notes", "Add the notes")
    assert second.id == "after-that"
    assert first.backward(BIGINT.plan) == ()
    assert files.of_phase(2) == ()
    assert problems(files) == []


def test_a_checksum_is_of_both_files_and_of_nothing_that_git_changes(tmp_path: Path) -> None:
    def checksum(up: str, down: str) -> str:
        (step,) = written(tmp_path, f001_a_up=up, f001_a_down=down).of_phase(1)
        return step.checksum

    first = checksum(NOTES, NO_NOTES)
    assert checksum(NOTES.replace("\n", "\r\n"), NO_NOTES) == first
    assert checksum(NOTES.replace("(1)", "(2)"), NO_NOTES) != first
    assert checksum(NOTES, NO_NOTES + "-- more") != first


@pytest.mark.parametrize(
    ("up", "what"),
    [
        ("SELECT 1;", "has no phase header"),
        (f"-- rollout: phase: 7\n{ASKED}SELECT 1", "has no phase header"),
        (f"{HEAD}-- rollout: locks: none\nSELECT 1", "has no done header"),
        (f"{HEAD}-- rollout: done: true\nSELECT 1", "has no locks header"),
        (f"{HEAD}{ASKED}-- rollout: lock: x\nSELECT 1", "has the unknown header 'lock'"),
        (f"{HEAD}{ASKED}-- rollout: long: yes\nSELECT 1", "has a malformed header 'long'"),
        (f"{HEAD}-- rollout: done: true\n-- rollout: locks: BIG a\nSELECT 1", "lock 'BIG a'"),
        (
            f"{HEAD}{ASKED}-- rollout: servers: new\nSELECT 1",
            "has the malformed servers header 'new'",
        ),
        (f"{HEAD}{ASKED}BEGIN; SELECT 1; COMMIT", "begins or ends a transaction"),
        (f"{HEAD}{ASKED}CREATE INDEX CONCURRENTLY a ON b (c)", "which cannot run in a transaction"),
        (
            f"{HEAD}{ASKED}-- rollout: long\nREINDEX INDEX CONCURRENTLY a; ANALYZE",
            "several statements, one of them CONCURRENTLY",
        ),
        (f"{HEAD}{ASKED}-- nothing but a comment", "has a header without a statement"),
        (f"{HEAD}{ASKED}ALTER TABLE a DROP COLUMN b", "removes or overwrites data"),
        (
            f"{HEAD}-- rollout: destructive\n{ASKED}TRUNCATE a",
            "is destructive, but has no rollback",
        ),
    ],
)
def test_a_missing_or_hidden_part_of_a_file_is_e050(tmp_path: Path, up: str, what: str) -> None:
    files = written(tmp_path, f010_a_up=up)
    problem_list = problems(files)
    assert any(id_ == "rollout.E050" and what in message for id_, message in problem_list), (
        problem_list
    )
    # Nothing of such a file would be run.
    assert all(step.ups == () for step in files.steps)


def test_files_astray_numbers_used_twice_and_files_that_no_phase_uses_are_reported(
    tmp_path: Path,
) -> None:
    good = f"{HEAD}{ASKED}SELECT 1"
    files = written(tmp_path, f010_a_up=good, f010_b_up=good, f020_c_down=good, f030_d_up=good)
    (tmp_path / "notes.sql").write_text("SELECT 1")
    messages = [message for _, message in problems(files)]
    assert "010_b.up.sql has the number of 010_a.up.sql." in messages
    assert any(message.startswith("020_c.down.sql has no .up.sql file") for message in messages)
    assert any(message.startswith("notes.sql has no .up.sql file") for message in messages)
    alone = with_step(BIGINT.plan, 1, files.of_phase(1)[0])
    unused = [p for p in check_plan(alone) if p.id == "rollout.E051"]
    assert "030_d.up.sql is not used by any phase." in [p.msg for p in unused]


def test_a_file_in_another_phase_than_it_says_is_e004(tmp_path: Path) -> None:
    (step,) = written(tmp_path, f010_a_up=f"{HEAD}{ASKED}SELECT 1").of_phase(1)
    assert "rollout.E004" in {p.id for p in check_plan(with_step(BIGINT.plan, 3, step))}


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match=r"Directory of SQL files not found: .*typo"):
        SqlFiles(tmp_path / "typo").of_phase(1)


@pytest.mark.parametrize(
    "text",
    [
        "ALTER TABLE a ALTER b SET NOT NULL",
        "ALTER TABLE a ADD CONSTRAINT x NOT NULL b NOT VALID",
        "ALTER TABLE a ADD COLUMN b text NOT NULL",
        "ALTER TABLE a ADD CONSTRAINT x CHECK (b > 0) NOT VALID",
        "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES c",
        "create unique index i on a (b)",
    ],
)
def test_a_file_that_forbids_is_restrictive_undeclared_and_can_be_rolled_back(
    tmp_path: Path, text: str
) -> None:
    assert is_restrictive(text)
    assert not is_destructive(text)
    (step,) = written(tmp_path, f010_a_up=f"{HEAD}{ASKED}{text}").of_phase(1)
    assert [problem.what for problem in step.problems] == ["is restrictive, but has no rollback"]
    (step,) = written(
        tmp_path, f010_a_up=f"{HEAD}{ASKED}{text}", f010_a_down=f"{ASKED}SELECT 1"
    ).of_phase(1)
    assert (step.problems, step.level) == ((), "restrictive")


def test_a_file_may_say_that_it_is_restrictive(tmp_path: Path) -> None:
    files = written(
        tmp_path,
        f010_a_up=f"{HEAD}-- rollout: restrictive\n{ASKED}SELECT 1",
        f010_a_down=f"{ASKED}SELECT 1",
    )
    assert files.of_phase(1)[0].level == "restrictive"


def test_steps_of_files_have_a_version_in_the_plans(tmp_path: Path) -> None:
    def digest(text: str) -> str:
        return plan_with(written(tmp_path, f010_a_up=f"{HEAD}{ASKED}{text}")).digest

    assert digest("SELECT 1") != digest("SELECT 2")
    assert isinstance(SqlFiles(tmp_path).steps[0], SqlFile)
    assert isinstance(SqlFiles(tmp_path).steps[0].ups[0], Statement)
    assert Phase(steps=SqlFiles(tmp_path).steps).steps
