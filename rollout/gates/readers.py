"""The gate about sessions and statements that still read the legacy columns."""

import re
from datetime import datetime
from fnmatch import fnmatch

from psycopg import sql

from rollout.engine.target import APPLICATION_NAME, OWN_ROWS, Connection
from rollout.gates.cached_queries import cached_query
from rollout.gates.evidence import Evidence
from rollout.gates.registry import GateResult, check, failed, passed, unknown
from rollout.plan.gates import NoLegacyReaders
from rollout.plan.plan import Plan

MAX_SHOWN = 3
_SESSIONS_AND_EXTENSION = """
SELECT (SELECT coalesce(json_agg(json_build_array(name, sessions) ORDER BY name), '[]')
          FROM (SELECT coalesce(application_name, '') AS name, count(*) AS sessions
                  FROM pg_stat_activity
                 WHERE datname = current_database() AND usesysid IS NOT NULL
                   AND pid <> pg_backend_pid()
                   AND coalesce(backend_type, 'client backend') = 'client backend'
                 GROUP BY 1) AS named),
       (SELECT nspname FROM pg_extension JOIN pg_namespace AS n ON n.oid = extnamespace
         WHERE extname = %s)
"""
EXTENSION = "pg_stat_statements"


@check(NoLegacyReaders)
def no_legacy_readers(gate: NoLegacyReaders, evidence: Evidence) -> GateResult:
    before = evidence.run_before
    since = None if before is None else before.finished_at
    plan = evidence.plan
    result = cached_query(
        evidence.rollout,
        *("readers", gate, plan.digest, since),
        query=lambda connection: _check_readers(connection, gate, plan, since),
    )
    if isinstance(result, str):
        return unknown("check_database", f"The database did not answer: {result}")
    return result


def _check_readers(
    connection: Connection, gate: NoLegacyReaders, plan: Plan, since: datetime | None
) -> GateResult:
    row = connection.execute(_SESSIONS_AND_EXTENSION, [EXTENSION]).fetchone()
    assert row is not None
    sessions, schema = row
    current = check_sessions(gate, sessions)
    if current.status != "pass":
        return current
    result = _check_statements(connection, plan, since, schema)
    return passed(f"{current.message} {result.message}") if result.status == "pass" else result


def check_sessions(gate: NoLegacyReaders, sessions: list[tuple[str, int]]) -> GateResult:
    """``sessions`` are their names, and how many have each."""
    old, strange, current = [], [], 0
    for name, count in sessions:
        application, _, version = name.partition("/")
        if application == gate.application and version:
            if _numbers(version) < _numbers(gate.oldest):
                old.append(f"{name} ({count:,})")
            else:
                current += count
        elif application != APPLICATION_NAME and not any(
            fnmatch(name, other) for other in gate.others
        ):
            strange.append(f"{name or 'without a name'} ({count:,})")
    if old:
        return failed(
            "end_sessions",
            f"Sessions of versions that read legacy columns: {_listed(old)}. Deploy "
            f"{gate.application}/{gate.oldest} or later everywhere and drain old sessions.",
        )
    if strange:
        return unknown(
            "end_sessions",
            f"Unidentified sessions: {_listed(strange)}. Have them set application_name to "
            f"{gate.application}/VERSION, or terminate them.",
        )
    return passed(f"{current:,} sessions of {gate.application}/{gate.oldest} or later, none older.")


def _check_statements(
    connection: Connection, plan: Plan, since: datetime | None, schema: str | None
) -> GateResult:
    """``schema`` is the extension's; None where it is not installed."""
    if schema is None:
        return passed(f"{EXTENSION} is not installed: statements were not checked.")
    view, info = (sql.Identifier(schema, EXTENSION + suffix) for suffix in ("", "_info"))
    # From version 17 on each statement says since when it is counted.
    of_each = connection.info.server_version >= 170000
    counted = sql.SQL("stats_since" if of_each else "(SELECT stats_reset FROM {})").format(info)
    names: dict[str, list[str]] = {}
    for lookup in plan.lookups:
        names.setdefault(lookup.table.name, []).append(lookup.legacy)
    rows = connection.execute(
        sql.SQL(
            "SELECT query, calls, {} FROM {} WHERE dbid ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).format(counted, view)
    ).fetchall()
    hidden = sum(1 for query, _, _ in rows if query is None or query.startswith("<insufficient"))
    reading = [
        (" ".join(query.split()), counted_since)
        for query, _, counted_since in rows
        if query is not None and reads_legacy(query, names)
    ]
    after = [query for query, at in reading if since is None or at is None or at > since]
    if after:
        return failed(
            "reset_statistics",
            f"{len(after):,} statements read a legacy column since the previous phase: "
            f"{_listed([query[:100] for query in after])}. Change what runs them, then have a "
            f"database administrator run SELECT {EXTENSION}_reset().",
        )
    if reading or hidden:
        who = f"{len(reading):,} statements" if reading else f"{hidden:,} statements of other roles"
        which = _listed([query[:100] for query, _ in reading]) or "hidden from this role"
        return unknown(
            "reset_statistics",
            f"{EXTENSION} has counted {who} since before the previous phase finished; whether they "
            f"still run is not known: {which}. Have a database administrator run SELECT "
            f"{EXTENSION}_reset(), then wait.",
        )
    return passed(f"None of {len(rows):,} statements in {EXTENSION} reads a legacy column.")


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


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MAX_SHOWN:,} more" if len(names) > MAX_SHOWN else ""
    return "; ".join(names[:MAX_SHOWN]) + more
