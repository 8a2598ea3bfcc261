"""What may go wrong with a snapshot, said so that somebody can act on it."""

import errno
import os
import re
from pathlib import PurePath

import psycopg
from psycopg import errors

from rollout.plan.errors import RolloutError

RIGHTS = (
    "Let the role of ROLLOUT's database connection own the plan's tables, or grant it SELECT on "
    "them and on the tables of the schema rollout. Then take another snapshot."
)
FREE_SPACE = "Free space there, or name another place, then take another snapshot."
_FULL = (errno.ENOSPC, errno.EDQUOT)
_SERVER_SPEAKS = re.compile(r"\b(ERROR|FATAL|PANIC): ")
_SERVER_IS_FULL = "Free space on the database server, then try again."


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
        return SnapshotError(f"The database refused: {message}", RIGHTS)
    if isinstance(error, errors.DiskFull):
        return SnapshotError(f"The database server's disk is full: {message}", _SERVER_IS_FULL)
    if isinstance(error, errors.LockNotAvailable):
        return SnapshotError(
            f"Another session held a lock for too long: {message}",
            "Let that session end, then try again.",
        )
    if isinstance(error, psycopg.OperationalError):
        return SnapshotError(
            f"The database went away: {message}", "When it answers again, try again."
        )
    return SnapshotError(f"The database refused: {message}", "Look at the message, then try again.")


def is_full(error: OSError) -> bool:
    """Whether it says that a disk is full, or what this user may have of it."""
    return error.errno in _FULL


def of_full_machine(reason: object) -> SnapshotError:
    """The disk of the machine that the worker runs on is full."""
    return SnapshotError(
        f"The disk of the worker's machine is full: {reason}",
        "Free space on that machine, also where its temporary files are, then try again.",
    )


def of_storage(error: OSError) -> SnapshotError:
    """What an error of the storage means here."""
    if is_full(error):
        return SnapshotError(
            f"The storage of snapshots is full: {error.strerror or error}", FREE_SPACE
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return SnapshotError(
            f"The storage of snapshots refused: {error}",
            "Let the workers' user write there, then take another snapshot.",
        )
    return SnapshotError(
        f"The storage of snapshots failed: {error}",
        'Look at the storage that ROLLOUT["SNAPSHOTS"]["STORAGE"] names, then try again.',
    )


def of_program(name: str, code: int, output: str) -> SnapshotError:
    """What a program of PostgreSQL meant by what it wrote before it ended."""
    program = PurePath(name).name
    lines = [line for line in output.splitlines() if line.strip()]
    message = " ".join(lines[-3:]) or f"it ended with status {code} and said nothing"
    if code < 0:
        return SnapshotError(
            f"{program} was ended by signal {-code}. {' '.join(lines[-3:])}".strip(),
            "Check whether the machine ran out of memory, then take another snapshot.",
        )
    lowered = output.lower()
    if any(os.strerror(code).lower() in lowered for code in _FULL):
        if not _SERVER_SPEAKS.search(output):
            return of_full_machine(message)
        return SnapshotError(f"The database server's disk is full: {message}", _SERVER_IS_FULL)
    if "permission denied" in lowered or "must be owner" in lowered:
        return SnapshotError(f"{program} may not read the tables: {message}", RIGHTS)
    if "lock timeout" in lowered:
        return SnapshotError(
            f"{program} waited too long for a lock: {message}",
            "Let the session that holds the table end, then take another snapshot.",
        )
    if "version mismatch" in lowered:
        return SnapshotError(
            f"{program} does not fit the server: {message}",
            "Install the server's client programs and name their directory in "
            'ROLLOUT["PG_BIN"], then take another snapshot.',
        )
    if "connection" in lowered or "terminating" in lowered:
        return SnapshotError(
            f"{program} lost the database: {message}", "When it answers again, try again."
        )
    return SnapshotError(f"{program} failed: {message}", "Look at its message, then try again.")
