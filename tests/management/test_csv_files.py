"""`manage.py rollout csv`: the files of a plan's steps are listed, uploaded and removed."""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from rollout import plan as r
from rollout.engine.target import Connection
from rollout.models import LogEntry, Rollout
from tests.support import rollouts
from tests.support.rollouts import Cli
from tests.support.servers import Database


def pass_over(rows: Sequence[Mapping[str, Any]], connection: Connection) -> None:
    """Do nothing: a row is done once the function returns."""


def step(id: str) -> r.RunCsvTask:
    function = "tests.management.test_csv_files.pass_over"
    return r.RunCsvTask(id=id, description=id, columns=("title",), function=function)


NOTHING = r.Phase(steps=())
PLAN = r.Plan(
    name="imports",
    title="Imports",
    description="Rows of files.",
    tables=(),
    translations=(),
    phases=(
        *(NOTHING, NOTHING),
        r.Phase(steps=(step("titles"),)),
        r.Phase(steps=(step("others"),)),
        NOTHING,
    ),
)
TITLES = ("csv", PLAN.name, "--step", "titles")


@pytest.fixture
def rollout(committed_db: Database) -> Iterator[Rollout]:
    with rollouts.known(PLAN) as rollout:
        yield rollout


def test_a_file_is_uploaded_listed_worked_on_and_removed(
    cli: Cli, rollout: Rollout, tmp_path: Path
) -> None:
    data = b"title\nSunny\nQuiet\n"
    digest = hashlib.sha256(data).hexdigest()
    file = tmp_path / "of today.csv"
    file.write_bytes(data)
    none = "phase 2, titles: no file (columns title)\nphase 3, others: no file (columns title)\n"
    assert cli("csv", PLAN.name) == (0, none, "")
    code, out, err = cli(*TITLES, "--upload", str(file))
    assert (code, err) == (0, "")
    assert out.startswith("phase 2, titles: of today.csv, 2 rows, 2 not done; uploaded by ")
    assert out.endswith(f"; SHA-256 {digest}\n")
    entry = LogEntry.objects.get(event="csv uploaded")
    assert (entry.source, entry.data["sha256"], entry.phase) == ("shell", digest, 2)
    code, out, _ = cli("csv", PLAN.name, "--json")
    titles, others = json.loads(out)
    assert (titles["phase"], titles["step"], titles["file"]["left"]) == (2, "titles", 2)
    assert (code, others) == (0, {"phase": 3, "step": "others", "file": None})
    rollouts.carry_out(rollout, 0, 1, 2)
    assert cli(*TITLES) == (0, "phase 2, titles: no file (columns title)\n", "")
    cli(*TITLES, "--upload", str(file))
    assert cli(*TITLES, "--remove") == (0, "phase 2, titles: no file (columns title)\n", "")
    removed = LogEntry.objects.get(event="csv removed")
    assert (removed.source, removed.data["left"]) == ("shell", 2)


def test_a_file_that_is_refused_changes_nothing(cli: Cli, rollout: Rollout, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"name\nSunny\n")
    code, _, err = cli(*TITLES, "--upload", str(file))
    assert (code, err.startswith("Nothing was changed. Line 1: The header lacks title")) == (
        2,
        True,
    )
    assert "Nothing was changed." in cli(*TITLES, "--upload", str(tmp_path / "gone.csv"))[2]
    upload = ("csv", PLAN.name, "--upload", str(file))
    assert cli(*upload) == (2, "", "Name one step: --step titles or others.\n")
    unknown = cli("csv", PLAN.name, "--step", "x")
    assert unknown == (2, "", "No step 'x' takes a CSV file. Those that do: titles, others.\n")
    code, _, err = cli(*TITLES, "--remove")
    assert (code, "There is no file to remove" in err) == (1, True)
    assert not LogEntry.objects.filter(event__startswith="csv").exists()


def test_an_engineer_may_not_upload_in_their_own_name(
    cli: Cli, rollout: Rollout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engineer = User.objects.create_user("engineer", password="right")
    engineer.groups.add(Group.objects.get(name="engineer"))
    file = tmp_path / "a.csv"
    file.write_bytes(b"title\nSunny\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("right\n"))
    code, _, err = cli(*TITLES, "--upload", str(file), "--user", "engineer")
    assert (code, "does not have the permission" in err) == (1, True)
    assert not LogEntry.objects.filter(event="csv uploaded").exists()
