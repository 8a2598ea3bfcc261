"""A program of PostgreSQL's at the end of a pipe."""

from pathlib import Path

import pytest

from rollout.engine.control import NullControl
from rollout.engine.snapshot.failures import SnapshotError
from rollout.engine.snapshot.pipes import Program
from tests.support.programs import write


@pytest.mark.parametrize(
    ("output", "full", "advice"),
    [
        (
            "pg_dump: error: query failed: ERROR:  could not write to file "
            '"base/pgsql_tmp/1": No space left on device',
            "The database server's disk is full: ",
            "Free space on the database server, then try again.",
        ),
        (
            'pg_dump: error: connection to server at "db" failed: FATAL:  could not write init '
            "file: No space left on device",
            "The database server's disk is full: ",
            "Free space on the database server, then try again.",
        ),
        (
            "pg_dump: error: query failed: ERROR:  could not resize shared memory segment "
            '"/PostgreSQL.7" to 8388608 bytes: No space left on device',
            "The database server has too little shared memory: ",
            "Enlarge /dev/shm on the database server (for a container --shm-size), or lower its "
            "max_parallel_workers, then try again.",
        ),
        (
            "pg_dump: error: could not write to output file: No space left on device",
            "The disk of the worker's machine is full: ",
            "Free space on that machine and in its temporary directory, then try again.",
        ),
    ],
)
def test_a_program_that_ends_because_a_disk_is_full_says_which_one(
    output: str, full: str, advice: str, tmp_path: Path
) -> None:
    program = tmp_path / "pg_dump"
    write(program, ["#!/bin/sh", f"echo '{output}' >&2", "exit 1"])
    with (
        Program([str(program)], env={}, control=NullControl()) as running,
        pytest.raises(SnapshotError) as refused,
    ):
        list(running.output())
    assert str(refused.value).startswith(full)
    assert str(refused.value).endswith("No space left on device.")
    assert refused.value.advice == advice
