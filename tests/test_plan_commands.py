"""The shell's verbs that write plans: a first one for a live table, and any one's as SQL files."""

from pathlib import Path

import pytest
from django.apps import apps

from rollout.plan import plans
from tests.rollouts import PLAN, Cli, execute


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the app properties is another, in which there is no plan yet."""
    monkeypatch.setattr(apps.get_app_config("properties"), "path", str(tmp_path))
    return tmp_path


def test_a_first_plan_is_written_once_and_says_what_to_do_next(cli: Cli, app: Path) -> None:
    execute(
        "INSERT INTO properties (id, title, description, address, city, postal_code, type,"
        " created_at, updated_at) VALUES (gen_random_uuid(), '', '', '', '', '', 'Loft', now(),"
        " now())"
    )
    # A model stands for its table.
    status, out, err = cli("scaffold", "properties", "LegacyProperty", "type", "status")
    assert (status, err) == (0, "")
    assert f"Wrote {app / 'rollout.py'} with the plan 'properties-type-status'." in out
    assert "manage.py check" in out
    assert "manage.py rollout start properties-type-status 0 --wait" in out
    written = (app / "rollout.py").read_text()
    assert 'name="properties-type-status",' in written
    status, out, err = cli("scaffold", "properties", "properties", "type")
    assert (status, out) == (2, "")
    assert "already exists. Print the plan with --print and add it by hand." in err
    assert (app / "rollout.py").read_text() == written
    status, out, _ = cli("scaffold", "properties", "properties", "type", "--print")
    assert status == 0
    assert out.startswith('"""The rollout of properties: type.')


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere", "properties", "type"), "No installed app with label 'nowhere'."),
        (("properties", "Propertys", "type"), "Table 'Propertys' not found"),
        (
            ("properties", "properties", "kind"),
            "properties has no column 'kind'. Its columns: 'id'",
        ),
        (("properties", "properties", "type", "--env", "moon"), "Unknown environment 'moon'."),
    ],
)
def test_what_cannot_be_written_is_refused_and_writes_nothing(
    cli: Cli, app: Path, arguments: tuple[str, ...], said: str
) -> None:
    status, out, err = cli("scaffold", *arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert list(app.iterdir()) == []


def test_a_plans_steps_are_written_as_files_and_never_over_somebodys_own(
    cli: Cli, tmp_path: Path
) -> None:
    steps = sum(len(phase.steps) for phase in plans.get(PLAN).phases)
    status, out, _ = cli("sql", PLAN, "--write", str(tmp_path / "review"))
    assert status == 0
    assert len(list((tmp_path / "review").glob("*.up.sql"))) == steps
    assert "files to" in out
    (tmp_path / "review" / "500_own.up.sql").write_text("SELECT 1")
    status, _, err = cli("sql", PLAN, "--write", str(tmp_path / "review"))
    assert status == 2
    assert "500_own.up.sql is somebody's own. Name another directory." in err
    status, _, err = cli("sql", PLAN)
    assert (status, err.strip()) == (2, "Name a phase, or write all phases to files: --write DIR")


def test_there_is_nothing_to_accept_where_no_file_was_edited(cli: Cli) -> None:
    status, _, err = cli("accept-files", PLAN)
    assert (status, err.strip()) == (
        1,
        "No edited SQL files to accept.",
    )
