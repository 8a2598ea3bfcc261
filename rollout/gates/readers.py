"""The gate about sessions and statements that still read the legacy columns."""

import logging
import re
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatch

import psycopg
from psycopg import sql

from rollout.engine.kept_names import with_names_of_now
from rollout.engine.target import APPLICATION_NAME, OWN_ROWS, Connection
from rollout.gates.cached_queries import cached_query
from rollout.gates.evidence import Evidence
from rollout.gates.registry import GateResult, check, failed, passed, unknown
from rollout.logs.texts import counted, listed
from rollout.plan.gates import NoLegacyReaders
from rollout.plan.plan import Plan

MAX_SHOWN = 3
_SESSIONS_AND_EXTENSION = """
SELECT (SELECT coalesce(json_agg(json_build_array(name, sessions, hosts) ORDER BY name), '[]')
          FROM (SELECT coalesce(application_name, '') AS name, count(*) AS sessions,
                       array_remove(array_agg(DISTINCT host(client_addr)), NULL) AS hosts
                  FROM pg_stat_activity
                 WHERE datname = current_database() AND usesysid IS NOT NULL
                   AND pid <> pg_backend_pid()
                   AND coalesce(backend_type, 'client backend') = 'client backend'
                 GROUP BY 1) AS named),
       (SELECT nspname FROM pg_extension JOIN pg_namespace AS n ON n.oid = extnamespace
         WHERE extname = %s)
"""
EXTENSION = "pg_stat_statements"
_log = logging.getLogger(__name__)


@check(NoLegacyReaders)
def no_legacy_readers(gate: NoLegacyReaders, evidence: Evidence) -> GateResult:
    before = evidence.run_before
    since = None if before is None else before.finished_at
    recorded = None if before is None else before.statement_calls
    plan = evidence.plan
    result = cached_query(
        evidence.rollout,
        *("readers", gate, plan.digest, since),
        query=lambda connection: _check_readers(connection, gate, plan, since, recorded),
    )
    if isinstance(result, str):
        return unknown("check_database", f"The database did not answer: {result}")
    return result


def _check_readers(
    connection: Connection,
    gate: NoLegacyReaders,
    plan: Plan,
    since: datetime | None,
    recorded: dict[str, int] | None,
) -> GateResult:
    row = connection.execute(_SESSIONS_AND_EXTENSION, [EXTENSION]).fetchone()
    assert row is not None
    sessions, schema = row
    current = check_sessions(gate, sessions)
    if current.status != "pass":
        return current
    result = _check_statements(connection, plan, since, recorded, schema)
    return passed(f"{current.message} {result.message}") if result.status == "pass" else result


def check_sessions(gate: NoLegacyReaders, sessions: list[tuple[str, int, list[str]]]) -> GateResult:
    """``sessions`` are their names, how many have each, and from which hosts."""
    old, strange, current = [], [], 0
    for name, count, hosts in sessions:
        more = f", {len(hosts) - MAX_SHOWN:,} more" if len(hosts) > MAX_SHOWN else ""
        origin = f" from {', '.join(hosts[:MAX_SHOWN])}{more}" if hosts else ""
        number = f"{count:,}{origin}"
        application, _, version = name.partition("/")
        if application == gate.application and version:
            if _numbers(version) < _numbers(gate.oldest):
                old.append(f"{name} ({number})")
            else:
                current += count
        elif application != APPLICATION_NAME and not any(
            fnmatch(name, other) for other in gate.others
        ):
            strange.append(f"{name or 'without a name'} ({number})")
    if old:
        return failed(
            "end_sessions",
            f"Sessions of versions that read legacy columns: {listed(old, MAX_SHOWN)}. Deploy "
            f"{gate.application}/{gate.oldest} or later everywhere and drain old sessions.",
        )
    if strange:
        return unknown(
            "end_sessions",
            f"Unidentified sessions: {listed(strange, MAX_SHOWN)}. Have them set application_name "
            f"to {gate.application}/VERSION, or terminate them.",
        )
    return passed(
        f"{counted(current, 'session')} of {gate.application}/{gate.oldest} or later, none older."
    )


def _check_statements(
    connection: Connection,
    plan: Plan,
    since: datetime | None,
    recorded: dict[str, int] | None,
    schema: str | None,
) -> GateResult:
    """``schema`` is the extension's; None where it is not installed.

    ``recorded`` are the calls at the end of the phase before: a statement that has as many now has
    not run since. None where that phase ended without them.
    """
    if schema is None:
        return passed(f"{EXTENSION} is not installed: statements were not checked.")
    statements, hidden = _statements(connection, plan, schema)
    after, open_ = [], []
    for statement in statements:
        if since is None or statement.counted_since is None or statement.counted_since > since:
            after.append(statement.text)
        elif recorded is None:
            open_.append(statement.text)
        elif statement.calls != recorded.get(statement.id, 0):
            after.append(statement.text)
    if after:
        return failed(
            "reset_statistics",
            f"{len(after):,} statements read a legacy column since the previous phase: "
            f"{listed([text[:100] for text in after], MAX_SHOWN)}. Change what runs them, then "
            f"have a database administrator run SELECT {EXTENSION}_reset().",
        )
    if open_ or hidden:
        who = f"{len(open_):,} statements" if open_ else f"{hidden:,} statements of other roles"
        which = listed([text[:100] for text in open_], MAX_SHOWN) or "hidden from this role"
        return unknown(
            "reset_statistics",
            f"{EXTENSION} has counted {who} since before the previous phase finished; whether they "
            f"still run is not known: {which}. Have a database administrator run SELECT "
            f"{EXTENSION}_reset(), then wait.",
        )
    return passed(
        f"No statement in {EXTENSION} has read a legacy column since the previous phase finished."
    )


def statement_calls(connection: Connection, plan: Plan) -> dict[str, int] | None:
    """Return the calls so far of each statement that reads a legacy column, by its id.

    None where the server does not count statements, or does not show them to this role.
    """
    try:
        row = connection.execute(_SESSIONS_AND_EXTENSION, [EXTENSION]).fetchone()
        if row is None or row[1] is None:
            return None
        statements, _ = _statements(connection, plan, row[1])
    except psycopg.Error as error:
        _log.warning("The calls of statements were not recorded: %s", error)
        return None
    return {statement.id: statement.calls for statement in statements}


@dataclass
class _Counted:
    """A statement that reads a legacy column, and since when its calls are counted."""

    id: str
    text: str
    calls: int
    counted_since: datetime | None


def _statements(connection: Connection, plan: Plan, schema: str) -> tuple[list[_Counted], int]:
    """The statements that read legacy columns, and how many are hidden from this role."""
    view, info = (sql.Identifier(schema, EXTENSION + suffix) for suffix in ("", "_info"))
    # From version 17 on each statement says since when it is counted.
    of_each = connection.info.server_version >= 170000
    counted = sql.SQL("stats_since" if of_each else "(SELECT stats_reset FROM {})").format(info)
    names: dict[str, list[str]] = {}
    plan = with_names_of_now(connection, plan)
    for table in plan.tables:
        names.setdefault(table.name, []).extend(plan.legacy_of(table))
    rows = connection.execute(
        sql.SQL(
            "SELECT query, queryid, calls, {} FROM {} WHERE dbid ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).format(counted, view)
    ).fetchall()
    hidden = sum(1 for query, *_ in rows if query is None or query.startswith("<insufficient"))
    statements: dict[str, _Counted] = {}
    for query, query_id, calls, counted_since in rows:
        if query is None or not reads_legacy(query, names):
            continue
        # Roles are counted apart.
        known = statements.setdefault(
            str(query_id), _Counted(str(query_id), " ".join(query.split()), 0, counted_since)
        )
        known.calls += calls
        if known.counted_since and counted_since:
            known.counted_since = max(known.counted_since, counted_since)
    return list(statements.values()), hidden


def reads_legacy(query: str, names: dict[str, list[str]]) -> bool:
    """Whether a statement of the application may read a legacy column.

    ``names`` are tables and their legacy columns. Statements of our own name our schema, or the
    rows as nobody else does.
    """
    if not re.match(r"\s*(select|with)\b", query, re.IGNORECASE) or re.search(
        rf'\brollout"?\.|pg_catalog|\b{OWN_ROWS}\b', query
    ):
        return False
    return any(
        _reads(query, re.escape(table), re.escape(column))
        for table, columns in names.items()
        for column in columns
    )


def _reads(query: str, table: str, column: str) -> bool:
    if not re.search(rf"\b{table}\b", query):
        return False
    if re.search(rf'\b{table}"?\.', query):
        return bool(re.search(rf'\b{table}"?\."?{column}\b', query))
    return bool(re.search(rf'(?<!AS )(?<!AS ")\b{column}\b(?!\s*\()', query, re.IGNORECASE))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))
