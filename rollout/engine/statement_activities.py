"""The activity of a running statement: its attempts, the sessions that block it, its progress."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from rollout.engine.target import APPLICATION_NAME, Connection

# The process id that PostgreSQL reports for a prepared transaction.
PREPARED = 0
# Maximum of blocking sessions reported.
MAX_BLOCKERS = 10


@dataclass(frozen=True)
class Blocker:
    """A session that a statement waits for. Moments are ISO texts, empty where they are hidden.

    ``began_at`` tells a session from a later one of the same process id; ``transaction_at`` its
    transaction from the next. ``locks`` are what it holds of what the statement waits for.
    """

    pid: int
    began_at: str
    transaction_at: str
    application: str
    user: str
    kind: str
    state: str
    seconds: int | None
    query: str
    locks: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.pid == PREPARED:
            return self.query
        open_for = "" if self.seconds is None else f", transaction open for {self.seconds:,} s"
        return f"PID {self.pid} ({self.application}, {self.state}{open_for}): {_short(self.query)}"

    @property
    def ours(self) -> bool:
        """Whether it is a session of the rollout itself."""
        return self.application == APPLICATION_NAME


@dataclass(frozen=True)
class Progress:
    """What PostgreSQL reports of a long statement; ``total`` is 0 where it counts nothing."""

    phase: str
    done: int = 0
    total: int = 0
    unit: str = ""

    def __str__(self) -> str:
        if not self.total:
            return self.phase
        return f"{self.phase}: {self.done:,} of {self.total:,} {self.unit}"

    @property
    def percent(self) -> int:
        return min(100, self.done * 100 // self.total) if self.total else 0


@dataclass(frozen=True, kw_only=True)
class StatementActivity:
    """A running statement. ``attempt`` is 0 where it waits without a lock timeout.

    ``session`` is its process id, ``awaits`` the lock that it waits for, and ``next_try_at`` an ISO
    text, empty during an attempt.
    """

    session: int
    statement: str
    began_at: str
    attempt: int = 0
    attempts: int = 0
    timeout_ms: int = 0
    next_try_at: str = ""
    awaits: str = ""
    blockers: tuple[Blocker, ...] = ()
    progress: Progress | None = None

    def __str__(self) -> str:
        """What it waits for, within a sentence; empty while it runs."""
        if self.attempt:
            if not self.blockers and not self.next_try_at:
                return ""
            return (
                f"a lock, attempt {self.attempt} of {self.attempts} (timeout "
                f"{self.timeout_ms / 1000:g} s): {self.named}"
            )
        return f"{self.awaits or 'other sessions'}: {self.named}" if self.blockers else ""

    @property
    def named(self) -> str:
        """The blocking sessions, in one line."""
        return "; ".join(map(str, self.blockers[:3])) or "no session blocks it now"

    def as_data(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """From the JSON of ``as_data``."""
        blockers = tuple(
            Blocker(**{**blocker, "locks": tuple(blocker["locks"])}) for blocker in data["blockers"]
        )
        progress = Progress(**data["progress"]) if data["progress"] else None
        return cls(**{**data, "blockers": blockers, "progress": progress})


_WAITED = """
SELECT locktype, upper(regexp_replace(replace(mode, 'Lock', ''), '([a-z])([A-Z])', '\\1 \\2', 'g')),
       relation, relation::regclass::text
  FROM pg_locks WHERE pid = %(pid)s AND NOT granted LIMIT 1
"""
_SESSIONS = """
SELECT b.pid,
       coalesce(to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), ''),
       coalesce(to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), ''),
       coalesce(nullif(a.application_name, ''), 'unnamed application'), coalesce(a.usename, ''),
       coalesce(a.backend_type, ''), coalesce(a.state, 'state unknown'),
       extract(epoch FROM clock_timestamp() - a.xact_start)::int,
       coalesce(left(regexp_replace(a.query, '\\s+', ' ', 'g'), 300), ''),
       ARRAY(
         SELECT upper(regexp_replace(replace(l.mode, 'Lock', ''), '([a-z])([A-Z])', '\\1 \\2', 'g'))
                || ' on ' || l.relation::regclass
                || CASE WHEN l.granted THEN '' ELSE ', and waits for it too' END
           FROM pg_locks l WHERE l.pid = b.pid AND l.locktype = 'relation'
            AND l.relation = %(relation)s::oid ORDER BY l.granted DESC, l.mode)
  FROM (SELECT DISTINCT unnest(%(pids)s::int[]) AS pid) b
  LEFT JOIN pg_stat_activity a ON a.pid = b.pid
 ORDER BY a.xact_start NULLS LAST
"""
_OF_INDEX = """
SELECT command, phase, lockers_done, lockers_total, blocks_done, blocks_total,
       tuples_done, tuples_total
  FROM pg_stat_progress_create_index WHERE pid = %(pid)s
"""
_WAITS_FOR = {
    "virtualxid": "older transactions",
    "transactionid": "a row locked by another transaction",
    "tuple": "a row locked by another transaction",
    "advisory": "application transactions using the current mode",
}


def in_its_way(connection: Connection, pid: int) -> tuple[str, tuple[Blocker, ...]]:
    """The lock that a session waits for, and the sessions that block it; empty while it waits for
    none.
    """
    waited = connection.execute(_WAITED.encode(), {"pid": pid}).fetchone()
    if waited is None:
        return "", ()
    kind, mode, relation, name = waited
    awaits = f"{mode} on {name}" if kind == "relation" else _WAITS_FOR.get(kind, f"a lock ({kind})")
    row = connection.execute("SELECT pg_blocking_pids(%s)", [pid]).fetchone()
    sessions = _sessions(connection, row[0] if row else [], relation)[:MAX_BLOCKERS]
    return awaits, tuple(_named(connection, session) for session in sessions)


def _short(query: str) -> str:
    return query if len(query) <= 80 else f"{query[:79]}…"


def session(connection: Connection, pid: int) -> Blocker | None:
    """A session as it is now; None if there is none of that process id."""
    (session,) = _sessions(connection, [pid], None)
    return session if session.kind else None


def _sessions(connection: Connection, pids: list[int], relation: int | None) -> list[Blocker]:
    parameters = {"pids": pids, "relation": relation}
    rows = connection.execute(_SESSIONS.encode(), parameters).fetchall()
    return [Blocker(*(*row[:-1], tuple(row[-1]))) for row in rows]


def _named(connection: Connection, blocker: Blocker) -> Blocker:
    """A prepared transaction has no session: its name is all there is to know."""
    if blocker.pid != PREPARED:
        return blocker
    row = connection.execute(
        "SELECT coalesce(string_agg(quote_literal(gid), ', '), 'none') FROM pg_prepared_xacts"
        " WHERE database = current_database()"
    ).fetchone()
    return replace(
        blocker,
        application="prepared transaction",
        kind="prepared transaction",
        state="prepared",
        query=f"one of these prepared transactions: {row[0] if row else 'none'}",
    )


def progress(connection: Connection, pid: int) -> Progress | None:
    """How far a session's long statement is, where PostgreSQL tells."""
    row = connection.execute(_OF_INDEX.encode(), {"pid": pid}).fetchone()
    if row is None:
        return None
    _command, phase, lockers, all_lockers, blocks, all_blocks, tuples, all_tuples = row
    if phase.startswith("waiting") and all_lockers:
        return Progress(phase, lockers, all_lockers, "blocking transactions")
    if all_blocks and blocks < all_blocks:
        return Progress(phase, blocks, all_blocks, "blocks")
    if all_tuples:
        return Progress(phase, tuples, all_tuples, "rows")
    return Progress(phase)
