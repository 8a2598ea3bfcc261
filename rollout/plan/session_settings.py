"""The settings that decide an expression's value, fixed wherever one is evaluated.

A database, a role or a session may have others; but triggers in the application's session, the
backfill in the console's and the audit must agree on every value.
"""

from collections.abc import Mapping

from psycopg import sql

# The engine's own writes announce themselves to the triggers of the dual write by a setting that
# holds the transaction's own id and ends with it, also behind a pooler. No setting of a session, a
# role or a database can be taken for it: what the application writes is always translated.
#
# Runs in a transaction: what it writes from here on is not translated.
ANNOUNCE = sql.SQL("SELECT set_config('rollout.engine', pg_current_xact_id()::text, true)")

# Runs in a transaction: has its batch look each row up by key. A plan that reads all of a large
# table may be estimated to be cheaper, but it would do so for every batch.
BY_KEY = sql.SQL(
    "SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)"
)

# Runs in a transaction: has its batch read the tables that it joins once. Of the few rows that a
# batch is estimated to have it would compare each with all of theirs.
BY_HASH = sql.SQL(
    "SELECT set_config('enable_nestloop', 'off', true), set_config('enable_mergejoin', 'off', true)"
)

# SQL condition: the transaction has not announced itself as the engine's.
IS_APPLICATION = sql.SQL(
    "(current_setting('rollout.engine', true) = pg_current_xact_id_if_assigned()::text) IS NOT TRUE"
)

# How SQL itself is read: without it the backslashes of a literal are gone.
SPELLING: Mapping[str, str] = {"standard_conforming_strings": "on"}
# What values are read and written as.
OF_EXPRESSIONS: Mapping[str, str] = {
    **SPELLING,
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
}
# For a function that asks first whether an expression raises an error: a plan for the values of one
# call evaluates what they make constant while it is made, whatever the CASE around it says.
OF_GUARDED_EXPRESSIONS: Mapping[str, str] = {
    **OF_EXPRESSIONS,
    "plan_cache_mode": "force_generic_plan",
}
# Timeouts that a role or a database may set. What must be short sets its own limit.
UNLIMITED: Mapping[str, str] = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
}
# What every session of the engine sets.
OF_SESSIONS: Mapping[str, str] = {
    **OF_EXPRESSIONS,
    **UNLIMITED,
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    # What the catalog is asked for comes back as text, and keys and fingerprints are made of it.
    "client_encoding": "UTF8",
    "quote_all_identifiers": "off",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "transform_null_equals": "off",
    # A query from which a policy would hide rows fails: what nobody saw is not done.
    "row_security": "off",
}
# Older servers do not know it.
TRANSACTION_TIMEOUT_SINCE = 170000


def of_session(server_version: int) -> sql.Composed:
    """One statement that sets what every session of the engine sets, on such a server."""
    since_17 = {"transaction_timeout": "0"} if server_version >= TRANSACTION_TIMEOUT_SINCE else {}
    return set_all({**OF_SESSIONS, **since_17})


def of_function(settings: Mapping[str, str]) -> sql.Composable:
    """The SET clauses of a function, each on a line of its own."""
    return sql.SQL("").join(
        sql.SQL("\n  SET {} = {}").format(sql.Identifier(name), _listed(value))
        for name, value in settings.items()
    )


def set_all(settings: Mapping[str, str]) -> sql.Composed:
    """One statement that sets them for the session."""
    return sql.SQL("SELECT {}").format(
        sql.SQL(", ").join(
            sql.SQL("set_config({}, {}, false)").format(sql.Literal(name), sql.Literal(value))
            for name, value in settings.items()
        )
    )


def _listed(value: str) -> sql.Composable:
    # A list in one literal would be taken for a single word.
    return sql.SQL(", ").join(sql.Literal(word) for word in value.split(", "))
