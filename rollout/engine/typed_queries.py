"""Queries of the target together with how their rows are read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from psycopg import sql
from psycopg.rows import dict_row

from rollout.engine.target import Connection

T = TypeVar("T")
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Query(Generic[T]):
    """A query, and what its rows, by the names of their columns, say."""

    query: sql.SQL | sql.Composed
    read: Callable[[Rows], T]

    def ask(self, connection: Connection) -> T:
        with connection.cursor(row_factory=dict_row) as cursor:
            return self.read(cursor.execute(self.query).fetchall())
