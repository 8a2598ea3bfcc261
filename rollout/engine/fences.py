"""One session at a time executes a plan on a target: a new one ends the one before.

When a worker is killed its statement still runs on the server, and would commit there.
"""

import logging

from psycopg import errors

from rollout.engine.control import Control, pause
from rollout.engine.target import Connection

# "Roll": with the plan's hash it makes the key of the lock that says whose turn it is.
_CLASS = 0x526F6C6C
# Interval between two attempts to get the turn.
_POLL_SECONDS = 0.1
_HOLDERS = """
SELECT pid, pg_terminate_backend(pid) FROM pg_locks
 WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid() AND objsubid = 2
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND classid = %s AND objid = hashtext(%s)::oid
"""

_log = logging.getLogger(__name__)


def take_over(connection: Connection, plan: str, control: Control) -> None:
    """Hold a plan for as long as this session lasts; end the session that holds it already.

    It belongs to a worker that died, or that stood still until its work was given to another: what
    it did in an open transaction is undone, what it committed is there to be found. Raises
    Interrupted and psycopg.Error.
    """
    while not _try_to_hold(connection, plan):
        for pid in _end_holders(connection, plan):
            _log.warning("Terminated session %s of a lost or late worker", pid)
            control.report_wait("the session of a lost worker to end")
        pause(_POLL_SECONDS, control)
    control.report_wait("")


def _try_to_hold(connection: Connection, plan: str) -> bool:
    row = connection.execute(
        "SELECT pg_try_advisory_lock(%s, hashtext(%s))", [_CLASS, plan]
    ).fetchone()
    return bool(row and row[0])


def _end_holders(connection: Connection, plan: str) -> list[int]:
    try:
        return [pid for pid, _ in connection.execute(_HOLDERS, [_CLASS, plan]).fetchall()]
    except errors.InsufficientPrivilege:
        # The session belongs to another role; it will end on its own.
        return []
