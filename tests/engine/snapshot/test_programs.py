"""Which pg_dump is taken, and what is reported where none will do."""

from pathlib import Path

import pytest

from config import embedded
from rollout.engine.snapshot import programs
from rollout.engine.snapshot.failures import SnapshotError
from rollout.engine.snapshot.programs import find_programs
from tests.support.programs import of_version, write


def only_in(*directories: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_directories", lambda: list(directories))


def test_the_programs_of_the_embedded_server_are_found_without_any_setting() -> None:
    programs = find_programs(18)
    assert Path(programs.pg_dump) == embedded.program("pg_dump")
    assert programs.major >= 18


def test_the_programs_nearest_to_the_server_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directories = [of_version(tmp_path / v, v) for v in ("18.1", "14.9", "16.4", "15.2")]
    only_in(*directories, monkeypatch=monkeypatch)
    assert find_programs(15).version == "15.2"
    assert find_programs(17).version == "18.1"


def test_a_version_that_is_not_out_yet_has_its_major_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_in(of_version(tmp_path, "19beta2"), monkeypatch=monkeypatch)
    assert find_programs(18).major == 19


def test_programs_older_than_the_server_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_in(of_version(tmp_path, "15.2"), monkeypatch=monkeypatch)
    with pytest.raises(SnapshotError, match=r"older than the server .PostgreSQL 18") as e:
        find_programs(18)
    assert f"15.2 in {tmp_path}" in str(e.value)
    assert "Install the client programs of PostgreSQL 18 or newer" in e.value.advice


def test_a_missing_program_is_reported_with_its_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_in(tmp_path, monkeypatch=monkeypatch)
    with pytest.raises(SnapshotError, match="pg_dump/pg_restore not found on this machine") as e:
        find_programs(18)
    assert 'ROLLOUT["PG_BIN"]' in e.value.advice


def test_a_directory_that_the_project_names_is_the_only_one_looked_at(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"ROLLOUT..PG_BIN"):
        find_programs(18, given=str(tmp_path))


def test_a_program_that_does_not_start_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in ("pg_dump", "pg_restore"):
        write(tmp_path / program, ["#!/bin/sh", "exit 127"])
    only_in(tmp_path, monkeypatch=monkeypatch)
    with pytest.raises(SnapshotError, match="pg_dump/pg_restore not found"):
        find_programs(18)
