"""Tries out, before there is a snapshot, whether one could be verified: without any rows."""

import io
import time
from datetime import timedelta

from psycopg import errors

from rollout.engine.control import Interrupted, NullControl
from rollout.engine.snapshot.archive import Archive
from rollout.engine.snapshot.contents import relations_of
from rollout.engine.snapshot.dump import dump, exported, prerequisites
from rollout.engine.snapshot.programs import Programs
from rollout.engine.snapshot.restore import Recorded, load
from rollout.engine.snapshot.scratch import scratch_database
from rollout.engine.target import Connection, Target
from rollout.plan.plan import Plan

# Somebody looks at a page meanwhile.
MAX_DURATION = timedelta(seconds=20)
# Another page, or the preflight of another rollout, is through with its own by then.
MAX_WAIT = timedelta(seconds=10)
# No snapshot has this number: the scratch database is no other's.
_NUMBER = 0
# One at a time for each database, so that leftovers of a killed one are recognised and dropped.
_LOCK = "SELECT pg_advisory_lock(hashtext('rollout trial of a snapshot'))"


class _Deadline(NullControl):
    """Ends the work after a time."""

    def __init__(self, longest: timedelta) -> None:
        self._end = time.monotonic() + longest.total_seconds()

    def raise_if_stopped(self) -> None:
        if time.monotonic() > self._end:
            raise Interrupted("Timed out.")


def try_out(target: Target, plan: Plan, programs: Programs) -> None:
    """Make the plan's tables and what they need in a scratch database, all of it empty.

    It does nothing where one of the tables is not there. Raises SnapshotError, which names what
    cannot be made again, Interrupted and psycopg.Error.
    """
    with target.connect() as connection:
        _wait_for_others(connection)
        control = _Deadline(MAX_DURATION)
        if _is_incomplete(connection, plan):
            return
        with target.connect() as other, exported(other, plan, control, with_rows=False) as snapshot:
            whole = b"".join(dump(programs, target, snapshot, control, with_rows=False))
            needed = prerequisites(programs, target, snapshot, control)
        archive = Archive(programs, lambda: io.BytesIO(whole), control)
        recorded = Recorded(snapshot.contents, needed, snapshot.left_out)
        with (
            scratch_database(connection, target, _NUMBER, 0) as scratch,
            scratch.connect() as copy,
        ):
            copy.execute("SET synchronous_commit = off")
            load(copy, archive, recorded, leave_out=snapshot.left_out)


def _wait_for_others(connection: Connection) -> None:
    """Wait until no other trial runs in this database; the session holds the lock from then on."""
    wait = f"{MAX_WAIT.total_seconds() * 1000:.0f}ms"
    try:
        with connection.transaction():
            connection.execute("SELECT set_config('lock_timeout', %s, true)", [wait])
            connection.execute(_LOCK)
    except errors.LockNotAvailable as error:
        raise Interrupted(
            "The console is testing this for another page or rollout of the same database."
        ) from error


def _is_incomplete(connection: Connection, plan: Plan) -> bool:
    there = {(relation.schema, relation.name) for relation in relations_of(connection, plan)}
    return any((table.schema, table.name) not in there for table in plan.tables)
