"""Failures of snapshots: what is wrong, and what to do next."""

import errno
import os
import re
from pathlib import PurePath

import psycopg
from psycopg import errors

from rollout.plan.errors import RolloutError

RIGHTS = (
    "Make the role of ROLLOUT's database connection the owner of the plan's tables, or grant it "
    "SELECT on them and on the tables of the schema rollout. Then take another snapshot."
)
FREE_SPACE = "Free space there, or configure another storage, then take another snapshot."
_FULL = (errno.ENOSPC, errno.EDQUOT)
_SERVER_SPEAKS = re.compile(r"\b(ERROR|FATAL|PANIC): ")


class SnapshotError(RolloutError):
    """A snapshot could not be taken, verified or restored; ``advice`` is what to do next."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(sentence(message))
        self.advice = advice


def sentence(text: str) -> str:
    """A text that another sentence may follow: what was not changed, what to do."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def of_database(error: psycopg.Error) -> SnapshotError:
    """What an error of the database means here."""
    message = error.diag.message_primary or str(error).strip() or type(error).__name__
    if isinstance(error, errors.InsufficientPrivilege):
        return SnapshotError(f"Database error: {message}", RIGHTS)
    if isinstance(error, errors.DiskFull):
        return of_full_server(message)
    if isinstance(error, errors.LockNotAvailable):
        return SnapshotError(
            f"Lock timeout: {message}",
            "Wait until the blocking session ends, then try again.",
        )
    if isinstance(error, psycopg.OperationalError):
        return SnapshotError(f"Database connection lost: {message}", "Retry when it is back.")
    return SnapshotError(
        f"Database error: {message}", "Fix the cause in the message, then try again."
    )


def is_full(error: OSError) -> bool:
    """Whether it says that a disk is full, or what this user may have of it."""
    return error.errno in _FULL


def shortage(message: str) -> tuple[str, str]:
    """What a server ran out of that reports a full disk, and how to give it more."""
    if "shared memory" in message:
        return (
            "The database server has too little shared memory",
            "Enlarge /dev/shm on the database server (for a container --shm-size), or lower its "
            "max_parallel_workers",
        )
    return "The database server's disk is full", "Free space on the database server"


def of_full_server(message: str) -> SnapshotError:
    lacks, advice = shortage(message)
    return SnapshotError(f"{lacks}: {message}", f"{advice}, then try again.")


def of_full_machine(reason: object) -> SnapshotError:
    """The disk of the machine that the worker runs on is full."""
    return SnapshotError(
        f"The disk of the worker's machine is full: {reason}",
        "Free space on that machine and in its temporary directory, then try again.",
    )


def of_storage(error: OSError) -> SnapshotError:
    """What an error of the storage means here."""
    if is_full(error):
        return SnapshotError(f"Snapshot storage is full: {error.strerror or error}", FREE_SPACE)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return SnapshotError(
            f"Snapshot storage denied access: {error}",
            "Let the workers' user write there, then take another snapshot.",
        )
    return SnapshotError(
        f"Snapshot storage failed: {error}",
        'Check ROLLOUT["SNAPSHOTS"]["STORAGE"], then try again.',
    )


def of_program(name: str, code: int, output: str) -> SnapshotError:
    """What a program of PostgreSQL meant by what it wrote before it ended."""
    program = PurePath(name).name
    lines = [line for line in output.splitlines() if line.strip()]
    message = " ".join(lines[-3:]) or f"exited with status {code} and no output"
    if code < 0:
        return SnapshotError(
            f"{program} was terminated by signal {-code}. {' '.join(lines[-3:])}".strip(),
            "Check whether the machine ran out of memory, then take another snapshot.",
        )
    lowered = output.lower()
    if any(os.strerror(code).lower() in lowered for code in _FULL):
        if not _SERVER_SPEAKS.search(output):
            return of_full_machine(message)
        return of_full_server(message)
    if "permission denied" in lowered or "must be owner" in lowered:
        return SnapshotError(f"{program}: permission denied: {message}", RIGHTS)
    if "lock timeout" in lowered:
        return SnapshotError(
            f"{program}: lock timeout: {message}",
            "Wait until the session that locks the table ends, then take another snapshot.",
        )
    if "version mismatch" in lowered:
        return SnapshotError(
            f"{program} version is incompatible with the server: {message}",
            'Install the server\'s client programs and set ROLLOUT["PG_BIN"] to their directory, '
            "then take another snapshot.",
        )
    if "connection" in lowered or "terminating" in lowered:
        return SnapshotError(
            f"{program}: database connection lost: {message}", "Retry when it is back."
        )
    return SnapshotError(
        f"{program} failed: {message}", "Fix the cause in the message, then try again."
    )
