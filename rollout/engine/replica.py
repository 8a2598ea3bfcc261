"""A replica that audits read: it must know all that the primary knew when the audit was asked."""

import time

from rollout.engine.control import Control, pause
from rollout.engine.target import Connection

# Maximum time that an audit waits for a replica to catch up.
MAX_WAIT_SECONDS = 30.0
_POLL_SECONDS = 0.1


def wait_until_level(
    primary: Connection,
    replica: Connection,
    control: Control,
    *,
    seconds: float = MAX_WAIT_SECONDS,
) -> str:
    """Wait until a replica has replayed what its primary has written by now.

    Why it cannot be read, with what to do about it; empty when it can. Raises Interrupted.
    """
    row = replica.execute("SELECT pg_is_in_recovery()").fetchone()
    if not row or not row[0]:
        return (
            "AUDIT_DATABASE is not a replica: it accepts writes. Name a replica, or unset "
            "AUDIT_DATABASE."
        )
    reached = _written_by_now(primary)
    until = time.monotonic() + seconds
    while True:
        row = replica.execute(
            "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn,"
            " pg_wal_lsn_diff(%s::pg_lsn, pg_last_wal_replay_lsn())::bigint",
            [reached, reached],
        ).fetchone()
        if row and row[0]:
            control.report_wait("")
            return ""
        behind = f"{row[1]:,}" if row and row[1] is not None else "an unknown number of"
        if time.monotonic() > until:
            return (
                f"The replica is still {behind} bytes of WAL behind after {seconds:.0f} s. Retry "
                "the audit later, or unset AUDIT_DATABASE."
            )
        control.report_wait(f"a replica that is {behind} bytes of WAL behind")
        pause(_POLL_SECONDS, control)


def _written_by_now(primary: Connection) -> str:
    """The WAL position up to which all is written that was committed by now.

    Commits that did not wait for the disk, as a backfill's, stand before one that does. A
    transaction that wrote nothing does not: it leaves a message in the WAL.
    """
    with primary.transaction():
        primary.execute("SET LOCAL synchronous_commit = local")
        primary.execute("SELECT pg_logical_emit_message(true, 'rollout', 'audit')")
    row = primary.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
    assert row is not None
    return str(row[0])
