"""The target: the database that a plan changes, and the engine's own schema in it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import psycopg
from psycopg import sql

from rollout.engine.shared_connections import borrowed
from rollout.plan.errors import RolloutError
from rollout.plan.names import escaped
from rollout.plan.session_settings import ANNOUNCE, of_session

Connection = psycopg.Connection[tuple[Any, ...]]


class _Cursor(psycopg.Cursor[Any]):
    """A cursor that takes percent signs in names and literals for what they are."""

    def execute(self, query: Any, params: Any = None, **how: Any) -> Self:
        if params is not None and isinstance(query, sql.Composable):
            query = escaped(query)
        return super().execute(query, params, **how)

    def executemany(self, query: Any, params_seq: Any, **how: Any) -> None:
        if isinstance(query, sql.Composable):
            query = escaped(query)
        super().executemany(query, params_seq, **how)


APPLICATION_NAME = "rollout"

# The alias of the application's rows in our own queries, so that pg_stat_statements tells our
# reads of legacy columns from the application's.
OWN_ROWS = "rollout_own_rows"

# A transaction of ours whose client is silent for longer is ended: its machine may be cut off,
# and the application waits for the locks that it holds.
CUT_OFF_SECONDS = 5
# Parameters of libpq with which a machine notices within 15 s, instead of the usual two hours,
# that it can no longer reach the server.
KEEPALIVES = {
    # People wait for most of these connections; libpq would wait for minutes.
    "connect_timeout": 4,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
# A page asks a target several questions: it waits once, not for each, on a server that is silent.
SILENT_SECONDS = 3.0

_VERSION = "rollout: what it keeps in this database, version 13"
_SCHEMA = """
CREATE SCHEMA IF NOT EXISTS rollout;
CREATE TABLE IF NOT EXISTS rollout.modes (
  plan text PRIMARY KEY,
  read_mode text NOT NULL DEFAULT 'legacy' CHECK (read_mode IN ('legacy', 'new')),
  write_mode text NOT NULL DEFAULT 'legacy' CHECK (write_mode IN ('legacy', 'both', 'new')),
  features text[] NOT NULL DEFAULT '{}',
  changed_at timestamptz NOT NULL DEFAULT now()
);
DROP TABLE IF EXISTS rollout.lanes;
CREATE TABLE rollout.lanes (
  job bigint NOT NULL,
  lane integer NOT NULL,
  schema_name text NOT NULL,
  relation text NOT NULL,
  first_block bigint NOT NULL,
  end_block bigint NOT NULL,
  next_block bigint NOT NULL,
  range_blocks bigint NOT NULL,
  range_end bigint NOT NULL,
  stripe smallint NOT NULL DEFAULT 0,
  stripe_rows bigint[] NOT NULL DEFAULT '{}',
  scanned bigint NOT NULL DEFAULT 0,
  updated bigint NOT NULL DEFAULT 0,
  quarantined bigint NOT NULL DEFAULT 0,
  rewritten bigint NOT NULL DEFAULT 0,
  since bigint,
  running bigint[] NOT NULL DEFAULT '{}',
  counting boolean NOT NULL DEFAULT true,
  working_seconds double precision NOT NULL DEFAULT 0,
  token bigint NOT NULL DEFAULT 0,
  holder text NOT NULL DEFAULT '',
  lease_until timestamptz,
  done boolean NOT NULL DEFAULT false,
  round smallint NOT NULL DEFAULT 1,
  exact bigint NOT NULL DEFAULT 0,
  fingerprint numeric NOT NULL DEFAULT 0,
  PRIMARY KEY (job, lane)
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS rollout.quarantine (
  job bigint NOT NULL,
  key text[] NOT NULL,
  error text NOT NULL,
  attempts integer NOT NULL DEFAULT 1,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (job, key)
);
CREATE TABLE IF NOT EXISTS rollout.decisions (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  plan text NOT NULL,
  table_label text NOT NULL,
  legacy_column text NOT NULL,
  normal text NOT NULL,
  name text,
  reviewer text NOT NULL,
  at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX IF NOT EXISTS decisions_key
  ON rollout.decisions (plan, table_label, legacy_column, md5(normal));
CREATE TABLE IF NOT EXISTS rollout.value_decisions (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  plan text NOT NULL,
  table_label text NOT NULL,
  columns text NOT NULL,
  source text NOT NULL,
  decided jsonb NOT NULL,
  reviewer text NOT NULL,
  at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX IF NOT EXISTS value_decisions_key
  ON rollout.value_decisions (plan, table_label, columns, md5(source));
DO $$ BEGIN ALTER TABLE IF EXISTS rollout.samples RENAME TO throughputs;
EXCEPTION WHEN duplicate_table THEN DROP TABLE rollout.samples; END $$;
CREATE TABLE IF NOT EXISTS rollout.throughputs (
  job bigint NOT NULL,
  at timestamptz NOT NULL,
  scanned bigint NOT NULL,
  updated bigint NOT NULL,
  working_seconds double precision NOT NULL,
  lost_seconds double precision NOT NULL,
  PRIMARY KEY (job, at)
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS rollout.losses (
  job bigint NOT NULL,
  signal text NOT NULL,
  seconds double precision NOT NULL,
  PRIMARY KEY (job, signal)
);
CREATE TABLE IF NOT EXISTS rollout.paces (
  job bigint NOT NULL,
  holder text NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  share double precision NOT NULL,
  held boolean NOT NULL,
  signal text NOT NULL,
  reason text NOT NULL,
  baseline double precision NOT NULL,
  commits double precision[] NOT NULL,
  others double precision[] NOT NULL,
  writes bigint NOT NULL,
  PRIMARY KEY (job, holder)
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS rollout.throttles (
  job bigint NOT NULL,
  signal text NOT NULL,
  began timestamptz NOT NULL DEFAULT now(),
  ended timestamptz NOT NULL DEFAULT now(),
  value double precision,
  bound double precision,
  share double precision NOT NULL,
  reason text NOT NULL,
  PRIMARY KEY (job, signal, began)
);
CREATE TABLE IF NOT EXISTS rollout.attributes (
  plan text NOT NULL,
  table_label text NOT NULL,
  position integer NOT NULL,
  stage smallint NOT NULL,
  kind text NOT NULL,
  object text NOT NULL,
  statement text NOT NULL,
  PRIMARY KEY (plan, table_label, position)
);
CREATE TABLE IF NOT EXISTS rollout.conflicting_writes (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  plan text NOT NULL,
  table_label text NOT NULL,
  column_name text NOT NULL,
  application text NOT NULL DEFAULT current_setting('application_name'),
  key text[] NOT NULL,
  legacy text,
  new text,
  writes bigint NOT NULL DEFAULT 1,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE SEQUENCE IF NOT EXISTS rollout.lastval MINVALUE -9223372036854775808 CYCLE;
GRANT USAGE ON SEQUENCE rollout.lastval TO PUBLIC;
CREATE OR REPLACE FUNCTION rollout.raises (query text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN EXECUTE query; RETURN false; EXCEPTION WHEN OTHERS THEN RETURN true; END $$;
DO $$
DECLARE keyless regclass;
BEGIN
  FOR keyless IN SELECT c.oid FROM pg_class c
    WHERE c.relnamespace = 'rollout'::regnamespace AND c.relkind = 'r'
      AND NOT EXISTS (SELECT FROM pg_index x WHERE x.indrelid = c.oid AND x.indisprimary)
  LOOP
    EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', keyless);
  END LOOP;
END $$;
"""
# At the end: a publication of all tables refuses to delete from one without a primary key, and
# those that an older version has made lack it.
# Nobody needs the numbers of ``lastval``: making a lookup row in a transaction of the
# application restores what lastval() answered before, which the application's role may ask for.


# Connection parameters of libpq, and the environment variable of each.
CONNECTION_OPTIONS = {
    option.keyword.decode(): option.envvar.decode() if option.envvar else ""
    for option in psycopg.pq.Conninfo.get_defaults()
    if option.keyword not in (b"application_name", b"fallback_application_name")
}


class TargetAway(RolloutError, psycopg.OperationalError):
    """A target's database cannot be asked now; the message says why and what to do."""


class TargetGone(TargetAway):
    """The database was dropped; waiting will not bring it back."""


# Errors of a database that was changed by hand, or that is not the intended one.
NOT_AS_EXPECTED = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.InvalidSchemaName,
)


def reason_of(error: psycopg.Error) -> str:
    """Why a target gave no answer, in sentences, with what to do."""
    if isinstance(error, TargetAway):
        return str(error)
    if isinstance(error, NOT_AS_EXPECTED):
        return (
            f"The database differs from the plan: {error.diag.message_primary}. Compare them on "
            "the Schema page."
        )
    lines = str(error).strip().splitlines() or ["no reason given"]
    return f"Database error: {lines[0]}. Fix the cause, then try again."


# Servers that did not answer in time: when to ask them again, and the message until then.
_silent: dict[tuple[str, ...], tuple[float, str]] = {}


@dataclass(frozen=True)
class Target:
    """How to reach a target directly: long statements and session settings need a whole session."""

    parameters: Mapping[str, Any]
    gone: str = ""
    """Why the database no longer exists; empty if it should exist."""

    @contextmanager
    def connect(self, **options: Any) -> Iterator[Connection]:
        """An autocommitting connection of the engine's own. Raises TargetAway."""
        with self._connected(options) as connection:
            yield connection

    @contextmanager
    def connect_briefly(self, seconds: int = 3) -> Iterator[Connection]:
        """The same for a page: no statement takes longer than that. Raises TargetAway.

        Within ``shared_connections`` the next one has the same session: change no setting of it.
        """
        if self.gone:
            raise TargetGone(self.gone)
        with borrowed(self.parameters, partial(self._connected, {})) as connection:
            limit(connection, seconds)
            yield connection

    def _connected(self, options: Mapping[str, Any]) -> Connection:
        if self.gone:
            raise TargetGone(self.gone)
        server = tuple(str(self.parameters.get(name, "")) for name in ("host", "hostaddr", "port"))
        until, message = _silent.get(server, (0.0, ""))
        if time.monotonic() < until:
            raise TargetAway(message)
        try:
            connection = psycopg.connect(
                **{**KEEPALIVES, **self.parameters, **options},
                autocommit=True,
                application_name=APPLICATION_NAME,
                cursor_factory=_Cursor,
            )
            settle(connection)
            return connection
        except psycopg.OperationalError as error:
            message = self._unreachable(error)
            if isinstance(error, psycopg.errors.ConnectionTimeout):
                _silent[server] = (time.monotonic() + SILENT_SECONDS, message)
            raise TargetAway(message) from error

    def _unreachable(self, error: psycopg.Error) -> str:
        reason = " ".join(str(error).split()) or "no reason given"
        return (
            f"Cannot connect to database {self.parameters.get('dbname', '')}: {reason}. Check "
            "that the server is running and admits this role, then try again."
        )

    @property
    def environment(self) -> dict[str, str]:
        """The libpq variables with which PostgreSQL's own programs reach the target."""
        return {
            CONNECTION_OPTIONS[name]: str(value)
            for name, value in self.parameters.items()
            if CONNECTION_OPTIONS[name]
        }


def limit(connection: Connection, seconds: int) -> None:
    """Let no statement from here on take longer than that."""
    connection.execute(sql.SQL("SET statement_timeout = {}").format(sql.Literal(f"{seconds}s")))


def settle(connection: Connection) -> None:
    """Set whatever a role or a database may have set otherwise."""
    connection.execute(of_session(connection.info.server_version))


@contextmanager
def own_transaction(connection: Connection) -> Iterator[None]:
    """A transaction whose writes the triggers of the dual write leave as they are."""
    with connection.transaction():
        connection.execute(ANNOUNCE)
        yield


def install(connection: Connection) -> None:
    """Create the engine's schema and tables, or upgrade those of an older version.

    A job that runs across an upgrade starts its lanes again: it finds most rows right.
    """
    if _is_installed(connection):
        return
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('rollout install'))")
        if not _is_installed(connection):
            connection.execute(_SCHEMA)
            connection.execute(
                sql.SQL("COMMENT ON SCHEMA rollout IS {}").format(sql.Literal(_VERSION))
            )


def _is_installed(connection: Connection) -> bool:
    row = connection.execute(
        "SELECT obj_description(to_regnamespace('rollout'), 'pg_namespace')"
    ).fetchone()
    return bool(row and row[0] == _VERSION)


def own(query: sql.Composable) -> sql.Composed:
    """A query over the application's rows, marked as ours by an alias.

    The alias is around it, since pg_stat_statements ignores comments and aliases within.
    """
    return sql.SQL("SELECT * FROM ({}) AS {}").format(query, sql.Identifier(OWN_ROWS))


def fetch_bool(connection: Connection, question: sql.Composable) -> bool:
    """The answer to a question of one boolean."""
    row = connection.execute(sql.SQL("SELECT {}").format(question)).fetchone()
    return bool(row and row[0])


def facts_now(connection: Connection, questions: Sequence[sql.Composable]) -> dict[str, bool]:
    """By its text, whether each question of one boolean is answered by yes.

    All are asked at once. Where one cannot be asked yet, each is for itself, and that one is no.
    """
    by_text = {question.as_string(): question for question in questions}
    at_once = sql.SQL("SELECT ARRAY[{}]::boolean[]").format(sql.SQL(", ").join(by_text.values()))
    try:
        with connection.transaction():
            row = connection.execute(at_once).fetchone()
        assert row is not None
        return dict(zip(by_text, map(bool, row[0]), strict=True))
    except psycopg.DatabaseError:
        return {text: _is_so(connection, question) for text, question in by_text.items()}


def _is_so(connection: Connection, question: sql.Composable) -> bool:
    try:
        with connection.transaction():
            return fetch_bool(connection, question)
    except psycopg.DatabaseError:
        return False
