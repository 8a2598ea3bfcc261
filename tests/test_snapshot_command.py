"""`manage.py rollout snapshot`, `snapshots` and `restore`: what they say, and their exit status."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollout.management.commands.rollout import Command
from rollout.models import LogEntry, Snapshot, SnapshotState
from tests.rollouts import PLAN
from tests.runner.test_snapshots import clean_storage  # noqa: F401  takes dumps away after a test
from tests.servers import Database

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
        f"None yet. Take one: manage.py rollout snapshot {PLAN}\n",
        "",
    )


def test_restoring_into_production_is_refused(rollout: Run) -> None:
    rollout("snapshot", PLAN)
    code, _, err = rollout("restore", PLAN, str(Snapshot.objects.get().pk), "--yes")
    assert code == 1
    assert "needs the approval of a second lead" in err


def test_an_unknown_snapshot_names_where_the_known_ones_are(rollout: Run) -> None:
    code, _, err = rollout("restore", PLAN, "77")
    assert code == 1
    assert f"There is no snapshot 77 of {PLAN}. List them: manage.py rollout snapshots" in err
