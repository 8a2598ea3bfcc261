"""The target: the database that a plan changes, and the engine's own schema in it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

Connection = psycopg.Connection[tuple[Any, ...]]

APPLICATION_NAME = "rollout"

_SCHEMA = """
CREATE SCHEMA IF NOT EXISTS rollout;
CREATE TABLE IF NOT EXISTS rollout.modes (
  plan text PRIMARY KEY,
  read_mode text NOT NULL DEFAULT 'legacy' CHECK (read_mode IN ('legacy', 'new')),
  write_mode text NOT NULL DEFAULT 'legacy' CHECK (write_mode IN ('legacy', 'both', 'new')),
  features text[] NOT NULL DEFAULT '{}',
  changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS rollout.lanes (
  job bigint NOT NULL,
  lane smallint NOT NULL,
  first_block bigint NOT NULL,
  end_block bigint NOT NULL,
  next_block bigint NOT NULL,
  range_blocks bigint NOT NULL,
  range_end bigint NOT NULL,
  stripe smallint NOT NULL DEFAULT 0,
  scanned bigint NOT NULL DEFAULT 0,
  updated bigint NOT NULL DEFAULT 0,
  working_seconds double precision NOT NULL DEFAULT 0,
  token bigint NOT NULL DEFAULT 0,
  holder text NOT NULL DEFAULT '',
  lease_until timestamptz,
  done boolean NOT NULL DEFAULT false,
  round smallint NOT NULL DEFAULT 1,
  rows_per_second double precision NOT NULL DEFAULT 0,
  PRIMARY KEY (job, lane)
) WITH (fillfactor = 50);
"""


@dataclass(frozen=True)
class Target:
    """How to reach a target directly: long statements and session settings need a whole session."""

    parameters: Mapping[str, Any]

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """An autocommitting connection of the engine's own. Raises psycopg.OperationalError."""
        connection: Connection = psycopg.connect(
            **self.parameters, autocommit=True, application_name=APPLICATION_NAME
        )
        with connection:
            yield connection

    @property
    def environment(self) -> dict[str, str]:
        """The libpq variables by which PostgreSQL's own programs reach the target."""
        names = {
            "dbname": "PGDATABASE",
            "user": "PGUSER",
            "password": "PGPASSWORD",
            "host": "PGHOST",
            "port": "PGPORT",
        }
        return {names[key]: str(value) for key, value in self.parameters.items()}


def install(connection: Connection) -> None:
    """Make the engine's schema and its tables where they are absent."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('rollout install'))")
        connection.execute(_SCHEMA)


def ask(connection: Connection, question: sql.Composable) -> bool:
    """The answer to a question of one boolean."""
    row = connection.execute(sql.SQL("SELECT {}").format(question)).fetchone()
    return bool(row and row[0])
