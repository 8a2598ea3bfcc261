"""`manage.py rollout snapshot`, `snapshots` and `restore`: what they say, and their exit status."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollout.management.commands.rollout import Command
from rollout.models import LogEntry, Snapshot, SnapshotState
from tests.rollouts import PLAN, person
from tests.servers import Database
from tests.worker.test_snapshots import clean_storage  # noqa: F401

Said = tuple[int, str, str]
Run = Callable[..., Said]


@pytest.fixture
def rollout(committed_db: Database, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            Command().run_from_argv(["manage.py", "rollout", *arguments])
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return run


def test_a_snapshot_is_taken_and_verified_before_the_shell_gets_its_answer(rollout: Run) -> None:
    code, out, err = rollout("snapshot", PLAN)
    snapshot = Snapshot.objects.get()
    assert (code, err) == (0, "")
    assert snapshot.state == SnapshotState.VERIFIED
    assert f"{snapshot.pk}  verified  " in out
    assert snapshot.sha256 in out
    assert "properties" in out
    assert LogEntry.objects.get(event="snapshot asked for").source == "shell"


def test_a_snapshot_as_json_has_its_evidence(rollout: Run) -> None:
    code, out, _ = rollout("snapshot", PLAN, "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["plan"], found["environment"], found["state"]) == (PLAN, "production", "verified")
    assert {"counts", "sha256", "lsn", "system_identifier", "size", "dump_version"} < set(found)
    code, out, _ = rollout("snapshots", PLAN, "--json")
    assert (code, json.loads(out)) == (0, [found])


def test_one_that_cannot_be_verified_is_no_success(
    rollout: Run, settings: Any, tmp_path: Path
) -> None:
    settings.ROLLOUT = {**settings.ROLLOUT, "PG_BIN": str(tmp_path)}
    code, out, _ = rollout("snapshot", PLAN)
    assert code == 1
    assert "failed" in out
    assert "Install the client programs of PostgreSQL" in out


def test_the_list_says_how_to_take_the_first(rollout: Run) -> None:
    assert rollout("snapshots", PLAN) == (
        0,
        f"No snapshots yet. Take one: manage.py rollout snapshot {PLAN}\n",
        "",
    )


def test_restoring_into_production_waits_for_another_lead(
    rollout: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout("snapshot", PLAN)
    restore = ("restore", PLAN, str(number := Snapshot.objects.get().pk), "--yes")
    ada = person("ada")
    ada.set_password("right")
    ada.save()

    def as_ada(*words: str) -> Said:
        monkeypatch.setattr("sys.stdin", io.StringIO("right\n"))
        return rollout(*words, "--user", "ada")

    code, _, err = rollout(*restore, "--reason", "It was a mistake.")
    assert (code, "Only a user of this site may" in err) == (1, True)
    code, _, err = as_ada(*restore)
    assert (code, "Say why production is to be replaced" in err) == (1, True)
    code, out, _ = as_ada(*restore, "--reason", "It was a mistake.")
    assert code == 1
    assert f"awaits approval by another lead at /rollout/snapshots/{number}/" in out


def test_a_staging_database_is_made_and_dropped(rollout: Run) -> None:
    code, _, err = rollout("stage", PLAN)
    assert code == 1
    assert f"Take one: manage.py rollout snapshot {PLAN}" in err
    rollout("snapshot", PLAN)
    code, out, err = rollout("stage", PLAN)
    assert (code, err) == (0, "")
    assert "into staging: " in out
    assert rollout("introspect", PLAN, "--against", "staging")[0] == 0
    assert f"{PLAN}  staging  not started" in rollout("list")[1]
    code, out, _ = rollout("restore", PLAN, str(Snapshot.objects.get().pk), "--env", "staging")
    assert code == 1
    assert (
        rollout("restore", PLAN, str(Snapshot.objects.get().pk), "--env", "staging", "--yes")[0]
        == 0
    )
    assert rollout("unstage", PLAN, "--env", "staging")[0] == 0
    code, _, err = rollout("unstage", PLAN)
    assert (code, "production is a configured environment" in err) == (1, True)


def test_an_unknown_snapshot_names_where_the_known_ones_are(rollout: Run) -> None:
    code, _, err = rollout("restore", PLAN, "77")
    assert code == 1
    assert f"Snapshot 77 of {PLAN} not found. List snapshots: manage.py rollout snapshots" in err
