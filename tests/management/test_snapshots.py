"""`manage.py rollout snapshot`, `snapshots` and `restore`: what they say, and their exit status."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from rollout.models import LogEntry, Snapshot, SnapshotState
from tests.support.rollouts import PLAN, Cli, person

pytestmark = pytest.mark.usefixtures("clean_storage")


def test_a_snapshot_is_taken_and_verified_before_the_shell_gets_its_answer(cli: Cli) -> None:
    code, out, err = cli("snapshot", PLAN)
    snapshot = Snapshot.objects.get()
    assert (code, err) == (0, "")
    assert snapshot.state == SnapshotState.VERIFIED
    assert f"{snapshot.pk}  verified  " in out
    assert snapshot.sha256 in out
    assert "properties" in out
    assert LogEntry.objects.get(event="snapshot asked for").source == "shell"


def test_a_snapshot_as_json_has_its_evidence(cli: Cli) -> None:
    code, out, _ = cli("snapshot", PLAN, "--json")
    snapshot = json.loads(out)
    assert code == 0
    assert (snapshot["plan"], snapshot["environment"], snapshot["state"]) == (
        PLAN,
        "production",
        "verified",
    )
    assert {"counts", "sha256", "lsn", "system_identifier", "size", "dump_version"} < set(snapshot)
    code, out, _ = cli("snapshots", PLAN, "--json")
    assert (code, json.loads(out)) == (0, [snapshot])


def test_a_snapshot_that_cannot_be_verified_is_no_success(
    cli: Cli, settings: Any, tmp_path: Path
) -> None:
    settings.ROLLOUT = {**settings.ROLLOUT, "PG_BIN": str(tmp_path)}
    code, out, _ = cli("snapshot", PLAN)
    assert code == 1
    assert "failed" in out
    assert "Install the client programs of PostgreSQL" in out


def test_a_worker_takes_a_snapshot_that_the_shell_waits_for(cli: Cli, a_worker: None) -> None:
    code, out, _ = cli("snapshot", PLAN, "--wait", "--json")
    assert (code, json.loads(out)["state"]) == (0, "verified")


@pytest.mark.parametrize("verb", ["snapshot", "rehearse", "stage"])
def test_a_user_takes_part_by_password_and_permission(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    ada = person("ada")
    ada.groups.clear()
    ada.set_password("right")
    ada.save()
    for password, says in (("wrong", "Invalid user name or password"), ("right", "permission")):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
        code, _, err = cli(verb, PLAN, "--user", "ada")
        assert (code, says in err) == (1, True), err
    assert not Snapshot.objects.exists()


def test_a_snapshot_is_in_the_name_of_the_user_who_took_it(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = person("ada")
    ada.set_password("right")
    ada.save()
    monkeypatch.setattr("sys.stdin", io.StringIO("right\n"))
    assert cli("snapshot", PLAN, "--user", "ada")[0] == 0
    assert Snapshot.objects.get().actor_name == "ada"


def test_the_list_says_how_to_take_the_first(cli: Cli) -> None:
    assert cli("snapshots", PLAN) == (
        0,
        f"No snapshots yet. Take one: manage.py rollout snapshot {PLAN}\n",
        "",
    )


def test_restoring_into_production_waits_for_another_lead(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("snapshot", PLAN)
    restore = ("restore", PLAN, str(number := Snapshot.objects.get().pk), "--yes")
    ada = person("ada")
    ada.set_password("right")
    ada.save()

    def as_ada(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO("right\n"))
        return cli(*words, "--user", "ada")

    code, _, err = cli(*restore, "--reason", "It was a mistake.")
    assert (code, "Only a named user may" in err) == (1, True)
    code, _, err = as_ada(*restore)
    assert (code, "Give a reason for replacing production" in err) == (1, True)
    code, out, _ = as_ada(*restore, "--reason", "It was a mistake.")
    assert code == 1
    assert f"awaits approval by another lead at /rollout/snapshots/{number}/" in out


def test_a_staging_database_is_made_and_dropped(cli: Cli) -> None:
    code, _, err = cli("stage", PLAN)
    assert code == 1
    assert f"Take one: manage.py rollout snapshot {PLAN}" in err
    cli("snapshot", PLAN)
    code, out, err = cli("stage", PLAN)
    assert (code, err) == (0, "")
    assert "into staging: " in out
    assert cli("introspect", PLAN, "--against", "staging")[0] == 0
    assert f"{PLAN}  staging  not started" in cli("list")[1]
    code, out, _ = cli("restore", PLAN, str(Snapshot.objects.get().pk), "--env", "staging")
    assert code == 1
    assert cli("restore", PLAN, str(Snapshot.objects.get().pk), "--env", "staging", "--yes")[0] == 0
    assert cli("unstage", PLAN, "--env", "staging")[0] == 0
    code, _, err = cli("unstage", PLAN)
    assert (code, "production is a configured environment" in err) == (1, True)


def test_an_unknown_snapshot_names_where_the_known_ones_are(cli: Cli) -> None:
    code, _, err = cli("restore", PLAN, "77")
    assert code == 1
    assert f"Snapshot 77 of {PLAN} not found. List snapshots: manage.py rollout snapshots" in err
