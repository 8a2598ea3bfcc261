"""Cancels the query of a blocking session or terminates it, at a person's request."""

import time
from typing import Literal

from rollout.engine import statement_activities
from rollout.engine.statement_activities import Blocker, StatementActivity
from rollout.engine.target import Connection

How = Literal["cancel", "end"]
# How long to wait until a cancelled or terminated session shows it.
CONFIRM_SECONDS = 2.0
# One statement checks whose session it is and signals it: between two the PID could be reused.
_SIGNAL = {
    "cancel": "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
    " WHERE pid = %s AND backend_start = %s::timestamptz",
    "end": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE pid = %s AND backend_start = %s::timestamptz",
}


def refusal_to_end(
    connection: Connection, shown: Blocker, behind: StatementActivity, how: How
) -> str:
    """Why a blocking session must not be signalled, and what to do; empty if it may be."""
    name = f"PID {shown.pid}"
    if shown.pid == statement_activities.PREPARED:
        return (
            "A prepared transaction has no session. End it with COMMIT PREPARED or ROLLBACK "
            "PREPARED."
        )
    now = statement_activities.session(connection, shown.pid)
    if now is None:
        return f"{name} already ended. No action taken."
    if not now.began_at or not shown.began_at:
        return (
            f"The owner of {name} is not visible. Grant pg_read_all_stats and pg_signal_backend "
            "to the rollout's role, or end the session manually."
        )
    if now.began_at != shown.began_at:
        return f"{name} now belongs to a different session. No action taken. Reload the page."
    if now.ours or now.pid in (connection.info.backend_pid, behind.session):
        return f"{name} is a session of the rollout itself. Pause or cancel its run instead."
    if "to prevent wraparound" in now.query and now.kind == "autovacuum worker":
        return (
            f"{name} is an anti-wraparound vacuum, which would restart immediately. Wait until it "
            "finishes, or pause the phase."
        )
    if now.kind not in ("client backend", "autovacuum worker"):
        return (
            f"{name} is a server background process ({now.kind}), so it cannot be terminated. "
            "Wait until it finishes."
        )
    if not _is_blocking(connection, now, shown, behind):
        return f"{name} is no longer blocking. No action taken."
    if how == "cancel" and now.state != "active":
        return (
            f"{name} runs no query to cancel ({now.state}), and its transaction stays open. "
            "Terminate the session instead."
        )
    return _missing_right(connection, now)


def _is_blocking(
    connection: Connection, now: Blocker, shown: Blocker, behind: StatementActivity
) -> bool:
    """Whether it blocks this moment, or its transaction still holds what it was seen to hold.

    Between two attempts nobody waits; and locks are let go at a transaction's end only.
    """
    _awaits, blockers = statement_activities.in_its_way(connection, behind.session)
    if any(blocker.pid == now.pid for blocker in blockers):
        return True
    same = bool(shown.transaction_at) and now.transaction_at == shown.transaction_at
    return same and now.state != "idle in transaction (aborted)"


def _missing_right(connection: Connection, now: Blocker) -> str:
    row = connection.execute(
        """
        SELECT r.rolsuper AND NOT me.rolsuper,
               me.rolsuper OR pg_has_role(a.usesysid, 'USAGE')
               OR pg_has_role('pg_signal_backend', 'USAGE'), a.backend_type, me.rolname
          FROM pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid
          JOIN pg_roles me ON me.rolname = current_user
         WHERE a.pid = %s
        """,
        [now.pid],
    ).fetchone()
    if row is None:
        return f"PID {now.pid} already ended. No action taken."
    superior, may, kind, me = row
    if superior:
        return (
            f"PID {now.pid} belongs to {now.user}, a superuser, so {me} cannot signal it. Ask "
            f"{now.user} to end it."
        )
    if kind == "client backend" and not may:
        return (
            f"{me} cannot signal sessions of {now.user}. Grant pg_signal_backend to {me}, or ask "
            f"{now.user} to end it."
        )
    return ""


def signal(connection: Connection, blocker: Blocker, how: How) -> bool:
    """Signal the session if it is still the same; whether it was sent. Raises psycopg.Error."""
    row = connection.execute(_SIGNAL[how].encode(), [blocker.pid, blocker.began_at]).fetchone()
    return bool(row and row[0])


def has_gone(connection: Connection, blocker: Blocker) -> bool:
    """Whether its transaction ends, or its session does, within a moment."""
    until = time.monotonic() + CONFIRM_SECONDS
    while True:
        now = statement_activities.session(connection, blocker.pid)
        if now is None or now.began_at != blocker.began_at:
            return True
        if now.transaction_at != blocker.transaction_at or now.state.endswith("(aborted)"):
            return True
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
