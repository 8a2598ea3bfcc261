"""Failures of snapshots in words: what is wrong, and what to do."""

import psycopg

from rollout.engine.snapshot import failures
from rollout.worker.failures import advice_for


def test_psycopg_errors_are_given_by_what_they_mean() -> None:
    refused = psycopg.errors.InsufficientPrivilege("no")
    full = psycopg.errors.DiskFull("no room")
    of_memory = psycopg.errors.DiskFull(
        'could not resize shared memory segment "/PostgreSQL.7" to 8388608 bytes: No space left'
    )
    assert failures.of_database(refused).advice == failures.RIGHTS
    assert "disk is full" in str(failures.of_database(full))
    assert "too little shared memory" in str(failures.of_database(of_memory))
    for advice in (failures.of_database(of_memory).advice, advice_for(of_memory)):
        assert advice.startswith("Enlarge /dev/shm")
        assert "disk" not in advice
